"""Requests in German."""

from typing import Final

from classifier.general.kinds import Kind

TEMPLATES: Final[dict[Kind, tuple[str, ...]]] = {
    Kind.SMALL_TALK: (
        "hallo",
        "Hallo!",
        "hi, wie geht's?",
        "Guten {daytime}!",
        "danke",
        "Vielen Dank für die Hilfe!",
        "danke dir, das hat geholfen",
        "ok, verstanden",
        "ja bitte",
        "nein, das war alles",
        "tschüss, bis {day}",
        "Wer bist du?",
        "Was kannst du alles?",
        "Erzähl mir einen Witz über {topic}",
        "Ich bin heute {feeling}.",
        "Entschuldigung, mein Fehler",
        "Schönes Wochenende!",
    ),
    Kind.FACT: (
        "Was ist die Hauptstadt von {place}?",
        "Wer hat {topic} erfunden?",
        "Wann begann {event}?",
        "Wie viele Einwohner hat {place}?",
        "Welche Sprache spricht man in {place}?",
        "Was bedeutet das Wort {thing}?",
        "Wann starb {person}?",
        "Wo liegt {place}?",
        "Welche Währung gilt in {place}?",
    ),
    Kind.CHOICE: (
        "Womit misst man die Zeit? A) {thing} B) Uhr C) Seil D) Löffel",
        "Stimmt es, dass {place} eine Stadt ist? Ja oder nein.",
        "Welches Tier kann fliegen? (A) Pferd (B) Spatz (C) Fisch (D) {thing}",
    ),
    Kind.REWRITE: (
        "Schreib das freundlicher: {passage}",
        "Korrigiere die Rechtschreibung: {passage}",
        "Formuliere diesen Satz um: {passage}",
        "Übersetze ins Englische: {passage}",
        "Kürze diesen Text: {passage}",
        "Nenne ein anderes Wort für {feeling}.",
        "Ist diese Bewertung positiv oder negativ? {passage}",
    ),
    Kind.ONE_STEP: (
        "Was ist {a} + {b}?",
        "Wie viel ist {a} mal {small}?",
        "{name} hat {a} {things} und bekommt {b} dazu. Wie viele sind es jetzt?",
        "Im Laden waren {a} {things}. {b} wurden verkauft. Wie viele sind übrig?",
    ),
    Kind.WRITE: (
        "Schreibe eine E-Mail an {name}, in der du um einen Termin am {day} bittest.",
        "Schreibe eine kurze Geschichte über {topic} in {place}.",
        "Verfasse eine höfliche Beschwerde über eine defekte Lieferung.",
        "Plane eine dreitägige Reise nach {place}.",
        "Fasse die Argumente für und gegen {topic} zusammen.",
        "Gib mir Tipps, wie ich mehr über {topic} lernen kann.",
    ),
    Kind.EXPLAIN: (
        "Erkläre einem Kind, wie {topic} funktioniert.",
        "Warum ist {topic} wichtig für {place}? Erkläre es an einem Beispiel.",
        "Vergleiche {topic} mit {topic}.",
        "Beschreibe die Ursachen von {event} und die Folgen.",
    ),
    Kind.SEVERAL_STEPS: (
        "{name} kauft {small} {things} zu je {b} Euro und eine Tasche für {c} Euro. Sie bekommt"
        " {small} % Rabatt. Wie viel zahlt sie?",
        "Ein Zug fährt {a} km in {small} Stunden und dann {b} km in {small} Stunden. Wie hoch ist"
        " die Durchschnittsgeschwindigkeit?",
        "{name} verdient {b} Euro in der Stunde, arbeitet {small} Stunden am Tag und gibt {c} Euro"
        " in der Woche aus. Wie viel spart er in {small} Wochen?",
        "Löse die Gleichung {small}x + {b} = {a}.",
        "Ein Tank fasst {a} Liter und verliert {small} Liter in der Stunde. Jeden Abend kommen {c}"
        " Liter dazu. Wie viel ist nach {small} Tagen darin?",
    ),
    Kind.CODE: (
        "Schreibe eine Python-Funktion, die die {small} größten Zahlen einer Liste zurückgibt.",
        "Wie lese ich eine CSV-Datei in Python ein?",
        "Schreibe eine SQL-Abfrage für alle Kunden mit mehr als {small} Bestellungen.",
        "Schreibe eine Funktion, die prüft, ob ein Wort ein Palindrom ist.",
    ),
    Kind.ADVANCED: (
        "Berechne das Integral $\\int_0^{small} x^2 e^{{-{c}x}} dx$.",
        "Bestimme die Extremstellen von $f(x) = x^3 - {b}x^2 + {c}x$ und die Fläche mit der"
        " x-Achse.",
        "Wie viele Möglichkeiten gibt es, {small} Personen um einen Tisch zu setzen, wenn {name}"
        " und {name} nicht nebeneinander sitzen?",
        "Untersuche, ob die Reihe $\\sum n^{small} / {c}^n$ konvergiert, und bestimme ihren Wert.",
        "Entwirf eine Ratenbegrenzung für {a} Anfragen pro Sekunde in {small} Rechenzentren und"
        " diskutiere Konsistenz und Ausfälle.",
        "Bestimme die Eigenwerte der Matrix [[{small}, 1], [1, {c}]] und eine Basis aus"
        " Eigenvektoren.",
    ),
    Kind.OLYMPIAD: (
        "Beweise, dass $n^{small} - n$ für jede ganze Zahl $n$ durch {small} teilbar ist, oder gib"
        " ein Gegenbeispiel an.",
        "Seien $a, b, c$ positive reelle Zahlen mit $a + b + c = {small}$. Zeige, dass"
        " $\\sum \\frac{{a}}{{b^2 + {c}}} \\ge 1$ gilt.",
        "Bestimme alle Funktionen $f: \\mathbb{{R}} \\to \\mathbb{{R}}$ mit"
        " $f(x + f(y)) = f(x) + y^{small}$ für alle reellen $x, y$.",
        "Beweise, dass es unendlich viele Primzahlen der Form $4k + 3$ gibt.",
        "Jede Zelle eines unendlichen Gitters ist mit einer von {small} Farben gefärbt. Zeige, dass"
        " es ein Rechteck mit gleichfarbigen Ecken gibt.",
        "Bestimme alle Paare natürlicher Zahlen $(m, n)$, für die $m^2 + {b}n$ und $n^2 + {b}m$"
        " Quadratzahlen sind. Beweise deine Antwort.",
    ),
}

WORDS: Final[dict[str, tuple[str, ...]]] = {
    "daytime": ("Morgen", "Tag", "Abend"),
    "day": ("Montag", "Dienstag", "Freitag", "Sonntag"),
    "name": ("Anna", "Jonas", "Leyla", "Max", "Greta", "Paul"),
    "thing": ("Lampe", "Fahrrad", "Schirm", "Kessel", "Boot", "Stuhl"),
    "things": ("Äpfel", "Bücher", "Murmeln", "Karten", "Münzen", "Stifte"),
    "place": ("Peru", "Norwegen", "Japan", "Lissabon", "Polen", "Wien"),
    "person": ("Marie Curie", "Napoleon", "Mozart", "Kleopatra"),
    "topic": ("Photosynthese", "Inflation", "Schach", "Solarenergie", "Schlaf", "Vulkane"),
    "event": ("der Kalte Krieg", "die Französische Revolution", "der Goldrausch"),
    "feeling": ("müde", "glücklich", "nervös", "hungrig"),
    "passage": (
        "die sitzung ist auf freitag verlegt wegen den zug",
        "Ich schreibe Ihnen, weil die Lieferung nicht angekommen ist.",
        "Wir hatten eine schöne Zeit in {place}, aber das Hotel war zu laut.",
        "Bitte schicken Sie uns den Bericht über {topic} bis {day}.",
    ),
    "sentence": (
        "Der Bericht über {topic} wurde am {day} besprochen.",
        "{name} hatte vorher {small} Jahre in {place} gearbeitet.",
        "Etwa {a} {things} wurden geliefert, davon {b} zu spät.",
        "Niemand fragte, wofür das gut war.",
        "Die Kosten stiegen um {b} Prozent, vor allem wegen {topic}.",
    ),
    "context_question": (
        "Was sagt der Text über {topic}?",
        "Fasse den Text oben in zwei Sätzen zusammen.",
    ),
    "please": ("Bitte:", "Kannst du mir helfen?", "Kurze Frage:", "Hallo,"),
    "follow_up": (
        "Warum?",
        "Bist du sicher?",
        "Den letzten Schritt verstehe ich nicht.",
        "Zeig jeden Schritt.",
        "Und für {small}?",
        "Das sieht falsch aus, prüf es noch einmal.",
        "Weiter.",
        "Geht es auch anders?",
    ),
    "assistant": ("Gerne. Das habe ich über {topic} gefunden.", "Gern geschehen! Noch etwas?"),
    "system": ("Du bist ein hilfreicher Assistent. Antworte kurz und auf Deutsch.",),
    "tool_request": (
        "Wie wird das Wetter am {day} in {place}?",
        "Stelle einen Wecker auf {small} Minuten.",
    ),
}
