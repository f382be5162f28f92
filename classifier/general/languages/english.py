"""Requests in English."""

from typing import Final

from classifier.general.kinds import Kind

TEMPLATES: Final[dict[Kind, tuple[str, ...]]] = {
    Kind.SMALL_TALK: (
        "hi",
        "Hi!",
        "hello there",
        "hey, how are you?",
        "good {daytime}",
        "Good {daytime}! How is it going?",
        "thanks",
        "Thanks a lot, that helps.",
        "thank you so much for the {thing}!",
        "ok",
        "okay, got it",
        "yes please",
        "no, that's all",
        "sounds good, see you {day}",
        "bye",
        "lol that's funny",
        "nice to meet you, I'm {name}",
        "who are you?",
        "what can you do?",
        "are you there?",
        "sorry, my mistake",
        "can you repeat that?",
        "continue",
        "tell me a joke about a {thing}",
        "I'm {feeling} today",
    ),
    Kind.FACT: (
        "what is the capital of {place}",
        "who wrote the book about {topic}",
        "when did {person} die",
        "where is {place} located on the map",
        "What year did the {event} begin?",
        "who played {name} in the film about {topic}",
        "how many people live in {place}",
        "what does the word {thing} mean",
        "when was the first {thing} made",
        "who is the president of {place}",
        "name of the river that flows through {place}",
        "which country won the {event} in {year}",
        "Define {topic} in one sentence.",
        "What currency is used in {place}?",
        "who sang the song about the {thing}",
        "when does the new season of {topic} come out",
        "what is the opposite of {feeling}",
        "Who invented the {thing}?",
        "the largest city in {place} is called",
        "what language do they speak in {place}",
        "where did the {event} take place",
        "who was the king of {place} during the {event}",
    ),
    Kind.CHOICE: (
        "A {thing} is left in the sun. It will most likely\n"
        "A) get warm\nB) freeze\nC) sing\nD) vanish",
        "Which of these is used to measure time? A) {thing} B) clock C) {thing} D) rope",
        "Someone who is {feeling} would most likely (A) sleep (B) read (C) rest (D) fly",
        "A plant needs this to grow: (A) light (B) {thing} (C) noise (D) money",
        "Is a {thing} heavier than a feather? Answer yes or no.",
        "True or false: {place} is a continent.",
        "Which animal can fly?\n(A) horse (B) sparrow (C) {thing} (D) fish",
        "If you put a {thing} in water, will it get wet? (A) yes (B) no",
    ),
    Kind.REWRITE: (
        "Rewrite this: {passage}",
        "rewrite this in a friendlier tone: {passage}",
        "Fix the spelling: {passage}",
        "Translate into {language}: {passage}",
        "Make this shorter. {passage}",
        "Is the sentiment of this review positive or negative? {passage}",
        "Turn this into a title: {passage}",
        "Correct the grammar of the following sentence.\n\n{passage}",
        "Put this in bullet points: {passage}",
        "Convert {a} kilometres to miles",
        "What is a good synonym for {feeling}?",
        "Give me three words that rhyme with {thing}.",
        "Sort these words: {thing}, {topic}, {place}",
    ),
    Kind.ONE_STEP: (
        "What is {a} + {b}?",
        "{a} - {b}",
        "How much is {a} times {small}?",
        "{name} has {a} {things} and gets {b} more. How many {things} are there now?",
        "There were {a} {things} in the shop. {b} were sold. How many {things} are left?",
        "{name} shares {a} {things} among {small} friends. How many does each get?",
        "A {thing} costs {b} dollars. How much do {small} of them cost?",
        "{name} picked {a} {things} and {name} picked {b}. How many more did one pick than the"
        " other?",
        "If each box holds {small} {things}, how many {things} are in {b} boxes?",
    ),
    Kind.WRITE: (
        "Write an email to {name} asking for a {thing} by {day}.",
        "Write a short story about a {thing} that gets lost in {place}.",
        "Draft a polite complaint about a {thing} that arrived broken.",
        "Compose a blog post about {topic} for beginners.",
        "Write a poem about {topic} and the sea.",
        "Plan a three-day trip to {place} with a budget of {a} dollars.",
        "Suggest a weekly meal plan for someone who is {feeling}.",
        "Summarize the main arguments for and against {topic}.",
        "Give advice to a colleague who feels {feeling} at work.",
        "Write a product description for a {thing} with five selling points.",
        "Imagine you are {person}. How would you describe {topic} in a speech?",
        "How can I improve my skills in {topic}? Give me some tips.",
        "What are the differences between {topic} and {topic}, and when does each one matter?",
        "Help me prepare questions for an interview about {topic}.",
    ),
    Kind.EXPLAIN: (
        "Explain how {topic} works to a ten-year-old.",
        "Why does {topic} matter for {place}? Explain with an example.",
        "Describe the causes of the {event} and what followed.",
        "Compare {topic} with {topic}.",
        "How does a {thing} work? Explain step by step.",
        "What would happen to {place} if {topic} disappeared overnight?",
        "Explain the difference between correlation and causation with an example from {topic}.",
    ),
    Kind.SEVERAL_STEPS: (
        "{name} buys {small} {things} at {b} dollars each and a bag for {c} dollars. She pays with"
        " {a} dollars more than needed. How much does she pay?",
        "A train travels {a} km in {small} hours, then {b} km in {small} hours. What is its average"
        " speed for the whole trip?",
        "{name} earns {b} dollars an hour and works {small} hours a day, {small} days a week. He"
        " spends {c} dollars each week. How much does he save in {small} weeks?",
        "A tank holds {a} litres. It loses {small} litres an hour and is refilled with {c} litres"
        " every evening. How many litres are in it after {small} days, if it starts full?",
        "{name} is twice as old as {name} was {small} years ago. Together they are {a} years old."
        " How old is {name} now?",
        "In a class of {a} students, {b} play football, {c} play chess and {small} play both. How"
        " many play neither?",
        "Half of {a} {things} are red, a third of the rest are blue, and the others are green. How"
        " many are green?",
        "A shop gives {b}% off a {thing} of {a} dollars and then adds {small}% tax. What is the"
        " final price?",
        "Solve {small}x + {b} = {a}.",
        "Solve for x: {small}(x - {c}) = {b} + x",
        "What is {b}% of {a}, rounded to the nearest integer?",
        "Find the perimeter of a rectangle with area {a} and one side {small}.",
    ),
    Kind.CODE: (
        "Write a function that returns the {small} largest numbers of a list.",
        "Write a Python function to check whether a string is a palindrome.",
        "Write a function to remove duplicates from a list of {things}.",
        "Write a SQL query that lists customers with more than {small} orders.",
        "How do I read a CSV file in Python and print the column {thing}?",
        "Write a regular expression that matches dates like {year}-01-31.",
        "Write a bash script that renames all files ending in .txt to .md",
        "Write a JavaScript function that groups {things} by their first letter.",
        "Write a function to find the sum of the even numbers between {small} and {a}.",
        "```python\ndef f(xs):\n    return [x * {small} for x in xs]\n```\nAdd type hints.",
        "Write a unit test for a function that adds two {things}.",
        "Write a function that converts a list of tuples into a dictionary.",
    ),
    Kind.ADVANCED: (
        "Find all real solutions of $x^{small} - {b}x + {c} = 0$ and sketch the graph.",
        "Let $f(x) = x^3 - {b}x^2 + {c}x$. Determine its local extrema and the area between it"
        " and the x-axis.",
        "Compute the integral $\\int_0^{small} x^2 e^{{-{c}x}} dx$.",
        "What is the sum of all positive integers $n$ such that $\\frac{{n+{a}}}{{n+{b}}}$ is an"
        " integer?",
        "How many ways are there to seat {small} people around a table if {name} and {name} must"
        " not sit together?",
        "In triangle $ABC$, $AB = {b}$, $BC = {c}$ and $\\angle B = 60^\\circ$. Find the radius of"
        " the circumscribed circle.",
        "Two dice are rolled until their sum is {small}. What is the expected number of rolls?"
        " Express your answer as a common fraction.",
        "A projectile is launched at {b} m/s at an angle of 40 degrees from a cliff of {a} m. Where"
        " does it land, and with which velocity?",
        "A solution of {b} mL of 0.{c} M acid is titrated with a base of 0.{small} M. What is the"
        " pH at the equivalence point?",
        "What is the smallest eigenvalue of the matrix [[{small}, 1], [1, {c}]]? Is it positive"
        " definite?",
        "The arrival rate at a queue is {small} per minute and the service time is exponential with"
        " mean {c} seconds. What is the probability that more than three wait?",
        "Using the Black-Scholes formula, price a call with strike {a}, volatility {b}% and"
        " {small} months to expiry.",
        "This service deadlocks under load when {small} workers write to the same {thing} table."
        " Find the race condition and propose a fix.\n\n```python\nwith lock_a:\n    with lock_b:\n"
        "        update(row)\n```",
        "Design a rate limiter for {a} requests per second over {small} data centres. Discuss"
        " consistency, failure modes and cost.",
        "Find the residue of {a}^{b} modulo {c}.",
        "Let $z$ be a complex number with $|z| = {small}$. Find the maximum of $|z^2 - {c}z + 1|$.",
        "Does the series $\\sum \\frac{{n^{small}}}{{{c}^n}}$ converge? Find its value if it does.",
        "Fifteen statements are made by {name}, {name} and {name}, each of whom always lies or"
        " always tells the truth. {name} says that exactly {small} of them lie. Who lies?",
    ),
    Kind.OLYMPIAD: (
        "Prove that for every integer $n \\ge {small}$ the number $n^{small} - n$ is divisible by"
        " {small}, or find a counterexample.",
        "Let $a, b, c$ be positive real numbers with $a + b + c = {small}$. Prove that"
        " $\\sum \\frac{{a}}{{b^2 + {c}}} \\ge 1$.",
        "Find all functions $f: \\mathbb{{R}} \\to \\mathbb{{R}}$ such that"
        " $f(x + f(y)) = f(x) + y^{small}$ for all real $x, y$.",
        "Determine all pairs of positive integers $(m, n)$ such that $m^2 + {b}n$ and $n^2 + {b}m$"
        " are both perfect squares.",
        "Let $ABC$ be an acute triangle with orthocentre $H$. The circle with diameter $AH$ meets"
        " the circumcircle again at $K$. Prove that $KH$ bisects $BC$.",
        "A sequence satisfies $a_{{n+1}} = a_n^2 - {c}a_n + {small}$. Show that infinitely many"
        " primes divide some term.",
        "In a tournament of {a} players every two play once. Prove that the players can be ordered"
        " so that each beats the next.",
        "Let $p$ be a prime greater than {small}. Show that the numerator of"
        " $1 + \\frac{{1}}{{2}} + \\dots + \\frac{{1}}{{p-1}}$ is divisible by $p^2$.",
        "Each cell of an infinite grid is coloured with one of {small} colours. Prove that there is"
        " a rectangle with vertices of one colour.",
        "Find the largest real constant $C$ such that"
        " $\\sum_{{i<j}} (x_i - x_j)^2 \\ge C$ for all distinct integers $x_1, \\dots, x_{small}$.",
        "Prove that there are infinitely many primes of the form $4k + 3$ and derive a bound for"
        " the {small}th of them.",
        "Given an array of up to {a}00000 integers and {b}0000 queries, each asking for the number"
        " of subsegments whose xor is below k, answer all queries within two seconds. Describe the"
        " algorithm and prove its complexity.",
        "Formulate a falsifiable hypothesis on how {topic} affects {topic}, design the experiment,"
        " and derive the sample size for a power of 0.{b}.",
        "Develop a new lower bound for the communication complexity of {topic} and prove it.",
    ),
}

WORDS: Final[dict[str, tuple[str, ...]]] = {
    "daytime": ("morning", "afternoon", "evening", "night"),
    "day": ("Monday", "Tuesday", "Friday", "Sunday", "tomorrow", "next week"),
    "name": ("Anna", "Omar", "Julia", "Ken", "Priya", "Tom", "Lucy", "Diego", "Maria", "Noah"),
    "thing": ("lamp", "bicycle", "umbrella", "kettle", "clock", "phone", "boat", "chair", "guitar"),
    "things": ("apples", "stickers", "books", "pencils", "marbles", "cookies", "tickets", "coins"),
    "place": ("Peru", "Kenya", "Norway", "Japan", "Lisbon", "Texas", "Poland", "Vietnam", "Cuba"),
    "person": ("Marie Curie", "Napoleon", "Mozart", "Cleopatra", "Gandhi", "Ada Lovelace"),
    "topic": (
        "photosynthesis",
        "inflation",
        "chess",
        "machine learning",
        "volcanoes",
        "jazz",
        "vaccines",
        "remote work",
        "the stock market",
        "solar power",
        "sleep",
        "the moon",
    ),
    "event": ("world cup", "French Revolution", "cold war", "gold rush", "great fire", "Olympics"),
    "feeling": ("tired", "happy", "nervous", "bored", "hungry", "proud", "angry"),
    "language": ("German", "French", "Spanish", "Chinese", "Italian"),
    "passage": (
        "the meeting are moved to friday because of the train",
        "I am writing to tell you that the {thing} did not arrive in time.",
        "We had a great time in {place}, but the hotel was far too loud at night.",
        "their going to send us the report on {topic} tomorow",
        "Please send the {thing} back. We will refund you within {small} days.",
        "The team finished {topic} early and went home {feeling}.",
    ),
    "sentence": (
        "The report on {topic} was discussed by the board on {day}.",
        "{name} had worked in {place} for {small} years before the {event}.",
        "About {a} {things} were delivered, {b} of them late.",
        "Nobody asked what the {thing} was for.",
        "According to {person}, {topic} would change the city within {small} years.",
        "Costs rose by {b} percent, mostly because of {topic}.",
        "In {year} the office moved to {place}, which made {name} {feeling}.",
    ),
    "context_question": (
        "What does the text say about {topic}?",
        "Who worked in {place}, according to the text above?",
        "Summarize the text above in two sentences.",
    ),
    "please": ("Please", "Could you help me?", "Quick question:", "Hello,", "I need this today."),
    "follow_up": (
        "Why?",
        "Are you sure?",
        "I don't understand the last step.",
        "Show every step.",
        "And for {small}?",
        "That looks wrong, check it again.",
        "Can you do it another way?",
        "Go on.",
        "What if the number were {b}?",
    ),
    "assistant": (
        "Of course. Here is what I found about {topic}.",
        "You're welcome! Anything else?",
        "The {thing} should arrive on {day}.",
        "Sure, I can do that for you.",
    ),
    "system": (
        "You are a helpful assistant of a shop that sells {things}. Be brief.",
        "You are an assistant for {topic}. Answer in the language of the user.",
    ),
    "tool_request": (
        "What is the weather in {place} {day}?",
        "Set a timer for {small} minutes.",
        "Book a table for {small} on {day}.",
        "Send {name} a message that I am {feeling}.",
    ),
}
