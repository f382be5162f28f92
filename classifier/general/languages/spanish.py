"""Requests in Spanish."""

from typing import Final

from classifier.general.kinds import Kind

TEMPLATES: Final[dict[Kind, tuple[str, ...]]] = {
    Kind.SMALL_TALK: (
        "hola",
        "¡Hola!",
        "hola, ¿qué tal?",
        "¡Buenos días!",
        "buenas noches",
        "gracias",
        "¡Muchas gracias por la ayuda!",
        "gracias, está perfecto",
        "vale, entendido",
        "sí, por favor",
        "no, eso es todo",
        "adiós, hasta el {day}",
        "¿Quién eres?",
        "¿Qué sabes hacer?",
        "Cuéntame un chiste sobre {topic}",
        "Hoy estoy {feeling}.",
        "Perdón, fue mi culpa",
    ),
    Kind.FACT: (
        "¿Cuál es la capital de {place}?",
        "¿Quién inventó {topic}?",
        "¿Cuándo empezó {event}?",
        "¿Cuántos habitantes tiene {place}?",
        "¿Qué idioma se habla en {place}?",
        "¿Qué significa la palabra {thing}?",
        "¿Cuándo murió {person}?",
        "¿Dónde está {place}?",
        "¿Qué moneda se usa en {place}?",
    ),
    Kind.CHOICE: (
        "¿Con qué se mide el tiempo? A) {thing} B) reloj C) cuerda D) cuchara",
        "Verdadero o falso: {place} es una ciudad.",
        "¿Qué animal puede volar? (A) caballo (B) gorrión (C) pez (D) {thing}",
    ),
    Kind.REWRITE: (
        "Reescribe esta frase: {passage}",
        "Corrige la ortografía: {passage}",
        "Escribe esto de forma más amable: {passage}",
        "Traduce al inglés: {passage}",
        "Acorta este texto: {passage}",
        "Dame un sinónimo de {feeling}.",
        "¿Esta opinión es positiva o negativa? {passage}",
    ),
    Kind.ONE_STEP: (
        "¿Cuánto es {a} + {b}?",
        "¿Cuánto es {a} por {small}?",
        "{name} tiene {a} {things} y recibe {b} más. ¿Cuántas tiene ahora?",
        "Había {a} {things} en la tienda. Se vendieron {b}. ¿Cuántas quedan?",
    ),
    Kind.WRITE: (
        "Escribe un correo a {name} para pedir una cita el {day}.",
        "Escribe un cuento corto sobre {topic} en {place}.",
        "Redacta una queja cortés sobre un paquete dañado.",
        "Planifica un viaje de tres días a {place}.",
        "Resume los argumentos a favor y en contra de {topic}.",
        "Dame consejos para aprender más sobre {topic}.",
    ),
    Kind.EXPLAIN: (
        "Explica a un niño cómo funciona {topic}.",
        "¿Por qué es importante {topic} para {place}? Explícalo con un ejemplo.",
        "Compara {topic} con {topic}.",
        "Describe las causas y las consecuencias de {event}.",
    ),
    Kind.SEVERAL_STEPS: (
        "{name} compra {small} {things} a {b} euros cada una y una bolsa de {c} euros, con un"
        " descuento del {small} %. ¿Cuánto paga?",
        "Un tren recorre {a} km en {small} horas y luego {b} km en {small} horas. ¿Cuál es su"
        " velocidad media?",
        "{name} gana {b} euros por hora, trabaja {small} horas al día y gasta {c} euros por semana."
        " ¿Cuánto ahorra en {small} semanas?",
        "Resuelve la ecuación {small}x + {b} = {a}.",
        "Un tanque de {a} litros pierde {small} litros por hora y recibe {c} litros cada noche."
        " ¿Cuánto tiene después de {small} días?",
    ),
    Kind.CODE: (
        "Escribe una función en Python que devuelva los {small} números más grandes de una lista.",
        "¿Cómo leo un archivo CSV en Python?",
        "Escribe una consulta SQL con los clientes que tienen más de {small} pedidos.",
        "Escribe una función que compruebe si una palabra es un palíndromo.",
    ),
    Kind.ADVANCED: (
        "Calcula la integral $\\int_0^{small} x^2 e^{{-{c}x}} dx$.",
        "Determina los extremos de $f(x) = x^3 - {b}x^2 + {c}x$ y el área con el eje x.",
        "¿De cuántas maneras se pueden sentar {small} personas en una mesa redonda si {name} y"
        " {name} no pueden estar juntos?",
        "Estudia la convergencia de la serie $\\sum n^{small} / {c}^n$ y calcula su suma.",
        "Diseña un limitador para {a} peticiones por segundo en {small} centros de datos y discute"
        " la consistencia y los fallos.",
        "Halla los valores propios de la matriz [[{small}, 1], [1, {c}]] y una base de vectores"
        " propios.",
    ),
    Kind.OLYMPIAD: (
        "Demuestra que $n^{small} - n$ es divisible por {small} para todo entero $n$, o da un"
        " contraejemplo.",
        "Sean $a, b, c$ reales positivos con $a + b + c = {small}$. Demuestra que"
        " $\\sum \\frac{{a}}{{b^2 + {c}}} \\ge 1$.",
        "Halla todas las funciones $f: \\mathbb{{R}} \\to \\mathbb{{R}}$ tales que"
        " $f(x + f(y)) = f(x) + y^{small}$ para todos los reales $x, y$.",
        "Demuestra que hay infinitos números primos de la forma $4k + 3$.",
        "Cada casilla de una cuadrícula infinita se pinta con uno de {small} colores. Prueba que"
        " existe un rectángulo con vértices del mismo color.",
        "Determina todos los pares de enteros positivos $(m, n)$ tales que $m^2 + {b}n$ y"
        " $n^2 + {b}m$ son cuadrados perfectos. Demuestra tu respuesta.",
    ),
}

WORDS: Final[dict[str, tuple[str, ...]]] = {
    "day": ("lunes", "martes", "viernes", "domingo"),
    "name": ("Lucía", "Diego", "Carmen", "Pablo", "Elena", "Mateo"),
    "thing": ("lámpara", "bicicleta", "paraguas", "tetera", "barco", "silla"),
    "things": ("manzanas", "canicas", "cartas", "monedas", "galletas", "entradas"),
    "place": ("Perú", "Noruega", "Japón", "Lisboa", "Polonia", "Sevilla"),
    "person": ("Marie Curie", "Napoleón", "Mozart", "Cleopatra"),
    "topic": ("la fotosíntesis", "la inflación", "el ajedrez", "la energía solar", "el sueño"),
    "event": ("la guerra fría", "la Revolución francesa", "la fiebre del oro"),
    "feeling": ("cansado", "feliz", "nervioso", "contento"),
    "passage": (
        "la reunion se paso al viernes por culpa de el tren",
        "Le escribo porque el paquete no ha llegado.",
        "Lo pasamos muy bien en {place}, pero el hotel era demasiado ruidoso.",
        "Por favor, envíenos el informe sobre {topic} antes del {day}.",
    ),
    "sentence": (
        "El informe sobre {topic} se discutió el {day}.",
        "{name} había trabajado {small} años en {place}.",
        "Se entregaron unas {a} {things}, {b} de ellas tarde.",
        "Nadie preguntó para qué servía.",
        "Los costes subieron un {b} por ciento, sobre todo por {topic}.",
    ),
    "context_question": (
        "¿Qué dice el texto sobre {topic}?",
        "Resume el texto anterior en dos frases.",
    ),
    "please": ("Por favor:", "¿Me puedes ayudar?", "Una pregunta rápida:", "Hola,"),
    "follow_up": (
        "¿Por qué?",
        "¿Seguro?",
        "No entiendo el último paso.",
        "Muestra cada paso.",
        "¿Y para {small}?",
        "Parece incorrecto, compruébalo otra vez.",
        "Sigue.",
        "¿Se puede hacer de otra manera?",
    ),
    "assistant": ("Claro. Esto es lo que encontré sobre {topic}.", "¡De nada! ¿Algo más?"),
    "system": ("Eres un asistente útil. Responde brevemente y en español.",),
    "tool_request": (
        "¿Qué tiempo hará el {day} en {place}?",
        "Pon un temporizador de {small} minutos.",
    ),
}
