"""Requests in French."""

from typing import Final

from classifier.general.kinds import Kind

TEMPLATES: Final[dict[Kind, tuple[str, ...]]] = {
    Kind.SMALL_TALK: (
        "salut",
        "Bonjour !",
        "bonsoir",
        "coucou, ça va ?",
        "merci",
        "Merci beaucoup pour votre aide !",
        "merci, c'est parfait",
        "ok, compris",
        "oui s'il te plaît",
        "non, c'est tout",
        "au revoir, à {day}",
        "Qui es-tu ?",
        "Que sais-tu faire ?",
        "Raconte-moi une blague sur {topic}",
        "Je suis {feeling} aujourd'hui.",
        "Désolé, c'est ma faute",
        "Bon week-end !",
    ),
    Kind.FACT: (
        "Quelle est la capitale de {place} ?",
        "Qui a inventé {topic} ?",
        "Quand a commencé {event} ?",
        "Combien d'habitants compte {place} ?",
        "Quelle langue parle-t-on en {place} ?",
        "Que veut dire le mot {thing} ?",
        "Quand est mort {person} ?",
        "Où se trouve {place} ?",
        "Quelle est la monnaie de {place} ?",
    ),
    Kind.CHOICE: (
        "Avec quoi mesure-t-on le temps ? A) {thing} B) horloge C) corde D) cuillère",
        "Vrai ou faux : {place} est une ville.",
        "Quel animal peut voler ? (A) cheval (B) moineau (C) poisson (D) {thing}",
    ),
    Kind.REWRITE: (
        "Reformule cette phrase : {passage}",
        "Corrige l'orthographe : {passage}",
        "Écris cela de façon plus polie : {passage}",
        "Traduis en anglais : {passage}",
        "Raccourcis ce texte : {passage}",
        "Donne un synonyme de {feeling}.",
        "Cet avis est-il positif ou négatif ? {passage}",
    ),
    Kind.ONE_STEP: (
        "Combien font {a} + {b} ?",
        "Combien font {a} fois {small} ?",
        "{name} a {a} {things} et en reçoit {b}. Combien en a-t-elle maintenant ?",
        "Il y avait {a} {things} au magasin. On en a vendu {b}. Combien en reste-t-il ?",
    ),
    Kind.WRITE: (
        "Écris un courriel à {name} pour demander un rendez-vous {day}.",
        "Écris une courte histoire sur {topic} en {place}.",
        "Rédige une réclamation polie au sujet d'un colis abîmé.",
        "Prépare un voyage de trois jours en {place}.",
        "Résume les arguments pour et contre {topic}.",
        "Donne-moi des conseils pour mieux comprendre {topic}.",
    ),
    Kind.EXPLAIN: (
        "Explique à un enfant comment fonctionne {topic}.",
        "Pourquoi {topic} est-il important pour {place} ? Donne un exemple.",
        "Compare {topic} et {topic}.",
        "Décris les causes et les suites de {event}.",
    ),
    Kind.SEVERAL_STEPS: (
        "{name} achète {small} {things} à {b} euros chacun et un sac à {c} euros, avec une remise"
        " de {small} %. Combien paie-t-elle ?",
        "Un train parcourt {a} km en {small} heures puis {b} km en {small} heures. Quelle est sa"
        " vitesse moyenne ?",
        "{name} gagne {b} euros de l'heure, travaille {small} heures par jour et dépense {c} euros"
        " par semaine. Combien économise-t-il en {small} semaines ?",
        "Résous l'équation {small}x + {b} = {a}.",
        "Une cuve de {a} litres perd {small} litres par heure et reçoit {c} litres chaque soir."
        " Combien contient-elle après {small} jours ?",
    ),
    Kind.CODE: (
        "Écris une fonction Python qui renvoie les {small} plus grands nombres d'une liste.",
        "Comment lire un fichier CSV en Python ?",
        "Écris une requête SQL qui liste les clients ayant plus de {small} commandes.",
        "Écris une fonction qui vérifie si un mot est un palindrome.",
    ),
    Kind.ADVANCED: (
        "Calcule l'intégrale $\\int_0^{small} x^2 e^{{-{c}x}} dx$.",
        "Détermine les extremums de $f(x) = x^3 - {b}x^2 + {c}x$ et l'aire sous la courbe.",
        "De combien de façons peut-on asseoir {small} personnes autour d'une table si {name} et"
        " {name} ne doivent pas être voisins ?",
        "Étudie la convergence de la série $\\sum n^{small} / {c}^n$ et calcule sa somme.",
        "Conçois un limiteur de débit pour {a} requêtes par seconde sur {small} centres de données"
        " et discute la cohérence et les pannes.",
        "Trouve les valeurs propres de la matrice [[{small}, 1], [1, {c}]] et une base de vecteurs"
        " propres.",
    ),
    Kind.OLYMPIAD: (
        "Démontre que $n^{small} - n$ est divisible par {small} pour tout entier $n$, ou donne un"
        " contre-exemple.",
        "Soient $a, b, c$ des réels positifs tels que $a + b + c = {small}$. Montrer que"
        " $\\sum \\frac{{a}}{{b^2 + {c}}} \\ge 1$.",
        "Trouver toutes les fonctions $f: \\mathbb{{R}} \\to \\mathbb{{R}}$ telles que"
        " $f(x + f(y)) = f(x) + y^{small}$ pour tous réels $x, y$.",
        "Démontre qu'il existe une infinité de nombres premiers de la forme $4k + 3$.",
        "Chaque case d'une grille infinie est coloriée avec une de {small} couleurs. Montrer qu'il"
        " existe un rectangle dont les sommets ont la même couleur.",
        "Déterminer tous les couples d'entiers positifs $(m, n)$ tels que $m^2 + {b}n$ et"
        " $n^2 + {b}m$ soient des carrés parfaits. Prouver la réponse.",
    ),
}

WORDS: Final[dict[str, tuple[str, ...]]] = {
    "day": ("lundi", "mardi", "vendredi", "dimanche"),
    "name": ("Camille", "Louis", "Inès", "Hugo", "Claire", "Karim"),
    "thing": ("lampe", "vélo", "parapluie", "bouilloire", "bateau", "chaise"),
    "things": ("pommes", "livres", "billes", "cartes", "pièces", "crayons"),
    "place": ("Pérou", "Norvège", "Japon", "Lisbonne", "Pologne", "Lyon"),
    "person": ("Marie Curie", "Napoléon", "Mozart", "Cléopâtre"),
    "topic": ("la photosynthèse", "l'inflation", "les échecs", "l'énergie solaire", "le sommeil"),
    "event": ("la guerre froide", "la Révolution française", "la ruée vers l'or"),
    "feeling": ("fatigué", "heureux", "nerveux", "content"),
    "passage": (
        "la reunion est reporter a vendredi a cause du train",
        "Je vous écris car le colis n'est pas arrivé.",
        "Nous avons passé un bon séjour à {place}, mais l'hôtel était trop bruyant.",
        "Merci de nous envoyer le rapport sur {topic} avant {day}.",
    ),
    "sentence": (
        "Le rapport sur {topic} a été discuté {day}.",
        "{name} avait travaillé {small} ans à {place}.",
        "Environ {a} {things} ont été livrés, dont {b} en retard.",
        "Personne n'a demandé à quoi cela servait.",
        "Les coûts ont augmenté de {b} pour cent, surtout à cause de {topic}.",
    ),
    "context_question": (
        "Que dit le texte sur {topic} ?",
        "Résume le texte ci-dessus en deux phrases.",
    ),
    "please": ("S'il vous plaît :", "Peux-tu m'aider ?", "Petite question :", "Bonjour,"),
    "follow_up": (
        "Pourquoi ?",
        "Tu es sûr ?",
        "Je ne comprends pas la dernière étape.",
        "Montre chaque étape.",
        "Et pour {small} ?",
        "Cela paraît faux, vérifie encore.",
        "Continue.",
        "Y a-t-il une autre façon ?",
    ),
    "assistant": ("Bien sûr. Voici ce que j'ai trouvé sur {topic}.", "Je vous en prie !"),
    "system": ("Tu es un assistant utile. Réponds brièvement et en français.",),
    "tool_request": (
        "Quel temps fera-t-il {day} à {place} ?",
        "Mets un minuteur de {small} minutes.",
    ),
}
