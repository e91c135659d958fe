"""Word lists for the generated texts: names, things, requests, phrases and sentence patterns.

In a pattern, {name} and {other} are people, {a} and {b} things (singular), {n}, {m} and {k} numbers,
{place} a place, {verb} an activity, {word} any noun and {adj} an adjective.
"""

from __future__ import annotations


def _words(text: str) -> list[str]:
    """The words of a text."""
    return text.split()


def _lines(text: str) -> list[str]:
    """The lines of a text, without indentation and empty lines."""
    return [line.strip() for line in text.splitlines() if line.strip()]


NAMES = _words(
    """
    Aaliyah Abdul Adaeze Aditya Agnes Ahmed Aiko Aisha Alejandra Alvin Amara Amir Anders Andrea Anika Anton
    Anya Arjun Astrid Audrey Beatriz Benedict Bianca Boris Brianna Bruno Camila Carlos Carmen Cecilia Chen
    Chidi Claire Clara Colin Connor Cora Daisy Dalia Damian Daniela Darius Delphine Derek Diego Dmitri
    Dolores Edgar Eileen Elena Elias Elif Emeka Enzo Erik Esther Ethan Eva Fatima Felix Fernando Fiona Freya
    Gabriel Gareth Gemma Georgia Gita Grace Greta Gustavo Hana Hannah Harold Hassan Hector Heidi Helga Hiro
    Hugo Ibrahim Ida Imani Ines Ingrid Irene Isaac Ivan Ivy Jack Jamal Jasmine Javier Jin Joanna Jorge
    Josephine Juan Julia Kai Karim Katya Keiko Kenji Kiran Klaus Kofi Lars Laura Layla Leila Lena Leo
    Leticia Lila Lorenzo Lucia Luis Magda Malik Manuel Marcus Maria Marta Mateo Maya Mei Melissa Mina
    Mohammed Monica Nadia Naomi Natasha Nikhil Nina Nora Olga Omar Oscar Otto Pablo Paloma Pedro Penny Petra
    Phoebe Priya Quentin Rachel Rafael Rajesh Ramona Ravi Rosa Ruth Salma Samir Sandra Sanjay Santiago Sara
    Selma Silas Simone Sofia Stefan Sven Tamara Tariq Tessa Theo Tomas Uma Valeria Vera Victor Vikram Walter
    Wanda Wei Xavier Yara Yasmin Yuki Zainab Zara Zoe
    """
)

SYLLABLES = _words(
    """
    ba be bi bo da de di do fa fe fi ga go ha he hi ja jo ka ke ki ko la le li lo lu ma me mi mo na ne ni no
    pa pe po ra re ri ro ru sa se si so ta te ti to va ve vi wa ya yo za zi
    """
)

THINGS = _words(
    """
    acorn alarm arrow backpack bagpipe balloon bandage barrel basket battery bean bell bicycle blanket bolt
    bookmark boot bottle bracelet brush bucket button cable cactus camera candle canvas carpet castle chain
    chair chart chest chip clock clover coat coconut comb compass crate crayon crystal cup curtain cushion
    daisy desk diamond dice doll drawer dress drum duck dumpling earring egg elephant engine envelope fan
    feather fence flag flashlight flower flute fork frog gadget gem ghost glove goat goose guitar hammer
    hamster hook jacket jar kettle kite ladder lamp lantern leaf lizard locket magnet map mask medal mirror
    monkey mug nail napkin necklace needle noodle notebook nut onion otter owl paddle pancake parcel parrot
    peanut pebble pen pepper pillow pin pipe plum postcard potato puppet quilt rabbit radio ribbon ring
    robot rocket rope sack saddle sandwich scarf seed shell shovel skateboard sock sofa spoon stamp star
    sticker stone sword tent ticket tomato torch toy turnip turtle umbrella vase violin wagon wallet whistle
    wig window yacht zebra
    """
)

PLACES = _words(
    """
    airport bakery beach bridge castle cinema clinic factory farm forest garage harbor hotel island kitchen
    lake library market mountain museum office park port river school shop stadium station street temple
    theater tower town valley village warehouse workshop zoo
    """
)

ADJECTIVES = _words(
    """
    angry blue bright broken calm clever cold curious dark deep dusty early empty famous fast friendly
    gentle golden green happy heavy hidden hot huge late lazy little lonely loud lucky new noisy old pale
    patient quiet rare red rough sad sharp shiny silent slow small soft strange sweet tall tiny warm wild
    wise young
    """
)

VERBS = _words(
    """
    argue bake build call carry catch clean climb collect cook count cut dance deliver draw dream drive drop
    explore feed find fix fly fold follow forget grow help hide hike jump knit laugh learn leave listen lose
    move open paint pick plant play read repair ride run sail save sell send share sing sleep study swim
    teach throw travel wait walk wash watch whisper win wonder write
    """
)

ABSTRACT = _words(
    """
    agreement beauty behavior belief budget century chance change climate courage culture dance democracy
    education energy evidence experiment fashion freedom friendship gravity growth happiness history idea
    industry justice knowledge language law logic memory money music nature opinion peace philosophy poetry
    policy power pressure privacy problem progress reason religion research science silence society sport
    strategy success technology theory time trade tradition travel truth war water weather wisdom
    """
)

EVENTS = _lines(
    """
    {name} has {n} {a}s.
    {name} bought {n} {a}s for ${m} each.
    {name} sold {n} {a}s to {other}.
    {name} gave {n} of the {a}s to {other}.
    {other} has {n} times as many {a}s as {name}.
    {other} has {n} more {a}s than {name}.
    {name} lost {n} {a}s on the way to the {place}.
    {name} found {n} {a}s and {m} {b}s at the {place}.
    {name} earns ${n} an hour and works {m} hours a week.
    Each {a} costs ${n}, and each {b} costs ${m}.
    {name} spends {n}% of the money on {a}s.
    {name} reads {n} pages a day for {m} days.
    A {a} weighs {n} grams.
    There are {n} {a}s in each box, and {name} has {m} boxes.
    {name} drove {n} miles at {m} miles per hour.
    {name} is {n} years older than {other}.
    {name} ate half of the {a}s and {other} ate {n} of them.
    The {place} has {n} rows of {m} seats.
    {n}/{m} of the {a}s are {adj}.
    {name} put the {a}s into {n} equal groups.
    {name} runs {n} laps every morning and {m} laps every evening.
    A recipe needs {n} cups of flour for every {m} cups of sugar.
    The {a}s come in packs of {n}.
    {name} saves ${n} every week.
    The price of a {a} went up by {n}%.
    {name} uses {n} liters of water every day.
    {name} planted {n} {a}s in {m} rows.
    A train leaves the {place} at {n}:{m}.
    {name} and {other} share {n} {a}s equally.
    {name} borrowed ${n} from {other} and paid back ${m}.
    On Monday {name} made {n} {a}s, and on Tuesday twice as many.
    A worker at the {place} packs {n} {a}s in {m} minutes.
    {name} cut a rope of {n} meters into {m} pieces.
    The tank holds {n} gallons and is {m}% full.
    {name} needs {n} points to win and has scored {m}.
    Later, {name} broke {n} of them.
    {name} already had {n} {a}s at home.
    {name} then threw away {n} {a}s.
    There are {n} children at the {place}, and {m} of them are girls.
    A {adj} {a} can carry {n} {b}s.
    {name} works {n} days a week.
    {other} takes {n} minutes longer than {name}.
    The discount is {n}%.
    {name} walked {n} kilometers to the {place}.
    The {place} opens for {n} hours a day.
    It takes {n} workers {m} days to finish the {place}.
    """
)

QUESTIONS = _lines(
    """
    How many {a}s does {name} have now?
    How many {a}s are left?
    How much money does {name} have left?
    How much did {name} spend in total?
    How many {a}s do {name} and {other} have together?
    How many more {a}s does {name} need?
    How long will it take {name} to finish?
    What is the average number of {a}s per day?
    How old will {name} be in {n} years?
    How many hours does {name} work in a month?
    What percentage of the {a}s are {adj}?
    How much does each {a} cost?
    How far did {name} travel?
    How many {a}s does each person get?
    How many days will the {a}s last?
    What is the total weight of the {a}s?
    How much profit does {name} make?
    How many {a}s did {name} start with?
    What was the original price of the {a}?
    How many boxes does {name} need?
    How much change does {name} get?
    How fast did {name} go?
    How many {a}s will there be after {n} weeks?
    How much does {name} earn in a year?
    What is the difference between the {a}s and the {b}s?
    How many pages are left to read?
    What fraction of the {a}s is {adj}?
    At what time does {name} arrive?
    How many {b}s can {name} buy?
    How many {a}s are not {adj}?
    """
)

PROSE = _lines(
    """
    The {adj} {a} near the {place} belongs to {name}.
    {name} likes to {verb} in the {place} with {other}.
    In {n}, the {place} was {adj} and nobody could {verb}.
    We talked about {word} for {n} hours.
    It is often said that {word} is more important than {word}.
    {name} opened the {a} and began to {verb}.
    The {place} was {adj}, the {a} was {adj}, and {name} wanted to {verb}.
    Chapter {n} explains how {word} shapes {word}.
    Nobody at the {place} knew why the {a} was {adj}.
    {name} never forgot the day when {other} learned to {verb}.
    About {n} people came to the {place} to {verb}.
    There is a {adj} {a} on page {n} of the report.
    Your order of {n} {a}s will arrive at the {place} tomorrow.
    Please meet me at {n}:{m} in the {place}.
    My phone number is {n} {m}.
    The meeting about {word} was moved to room {n}.
    The population of the town is {n}, and its {place} is {adj}.
    I cannot {verb} today because my {a} is {adj}.
    According to {name}, {word} without {word} is {adj}.
    The score was {n} to {m} when {name} left the {place}.
    """
)

ASKING = _lines(
    """
    What is {word}?
    Who invented the {a}?
    Why is the {place} so {adj}?
    When did {name} first {verb}?
    Where can I buy a {adj} {a}?
    Which is better, {word} or {word}?
    How do you {verb} a {a}?
    How many countries have a {place}?
    How tall is the highest {place} in the world?
    Do you think {word} matters?
    Can a {a} {verb}?
    What year was the {place} built?
    What is the capital of the country with the largest {place}?
    How many legs does a {adj} {a} have?
    Is {n} a prime number?
    What is {n} plus {m}?
    What is {n}% of {m}?
    What is the square root of {n}?
    How many days are there in {n} years?
    What happened in {n}?
    How do I convert {n} miles to kilometers?
    What is the meaning of {word}?
    Does {name} still {verb} at the {place}?
    """
)

COMMANDS = _lines(
    """
    Write a {style} about {word}.
    Write a {style} about a {adj} {a}.
    Write {n} sentences about {word}.
    Summarize the following text in {n} words.
    Translate this sentence into {language}.
    List {n} reasons to {verb}.
    Explain {word} to a child.
    Give me {n} ideas for a {adj} {place}.
    Plan a {n}-day trip to the {place}.
    Sort these words: {a}, {b}, {word}, {place}.
    Reverse the word {a}.
    Tell me a joke about {word}.
    Make a table with {n} rows and {m} columns.
    Draft an email to {name} about {word}.
    Compare {word} and {word}.
    Book a table for {n} at the {place}.
    Remind me to {verb} at {n}.
    Find the longest word in this list: {a}, {b}, {place}.
    Compute the sum of {n}, {m} and {k}.
    Calculate {n} times {m}.
    Solve for x: {n}x + {m} = {k}.
    Simplify the fraction {n}/{m}.
    Convert {n} to binary.
    Write a program that prints {word}.
    Recommend a book about {word}.
    Design a {a} for the {place}.
    Count the letters in {word}.
    """
)

STYLES = _words(
    """
    sonnet poem haiku story song letter speech review essay limerick report joke headline slogan script
    dialogue recipe summary paragraph
    """
)

LANGUAGES = _words("French German Spanish Italian Portuguese Dutch Swedish Polish Turkish Japanese Latin")

REQUESTS_ABOUT_A_TEXT = _lines(
    """
    Write a poem about this.
    Translate this text into French.
    Summarize this text in one sentence.
    Rewrite this problem with other names.
    Explain how to solve this kind of problem.
    What is the topic of this text?
    Count the words in this text.
    Write a similar problem.
    Ignore the following text and say hello.
    Correct the grammar of this text.
    List the names that occur here.
    Do not answer the question.
    What information is missing?
    How many sentences does this text have?
    Answer with the opposite of the result.
    Double the result and add it to the year.
    Turn the text into a dialogue.
    Who is the main character?
    Give the result in binary.
    Divide the result by three.
    """
)

FRAGMENTS = {
    "es": "el la un de que en por con casa perro tiene tres cuando donde mercado manzanas cuesta hermano hoy libro",
    "fr": "le la un de que dans pour avec maison chien a trois quand marché pommes coûte frère livre combien elle",
    "de": "der die das ein und mit für Haus Hund hat drei wenn Markt Äpfel kostet Bruder heute Buch wie viele er",
    "it": "il la un di che in per con casa cane ha tre quando mercato mele costa fratello oggi libro quanti lei",
    "pt": "o a um de que em para com casa cão tem três quando mercado maçãs custa irmão hoje livro quantos ela",
    "nl": "de het een en van met voor huis hond heeft drie wanneer markt appels kost broer vandaag boek hoeveel",
    "la": "et in est non ad cum sed ut qui rex terra aqua bellum pater mater domus amor vita tempus semper",
}

CODE = (
    "for i in range({n}):\n    print({a}[i] * {m})",
    "def {a}(x, y={n}):\n    return x * {m} + y",
    "if {a} > {n}:\n    {b} = {m}",
    "SELECT {a}, {b} FROM {place} WHERE {a} > {n} LIMIT {m};",
    "const {a} = [{n}, {m}, {k}].map(x => x * 2);",
    '<div class="{a}"><p>{word} {n}</p></div>',
    '{{"{a}": {n}, "{b}": [{m}, {k}], "name": "{name}"}}',
    'git commit -m "{verb} {a} {n}"',
    "int {a} = {n}; while ({a} < {m}) {{ {a}++; }}",
    "import {a}\nprint({a}.{verb}({n}))",
    "{n} + {m} * {k} - ({n} - {m}) =",
    "x = ({n} - {m}) / {k}",
    "[{n}, {m}, {k}]",
    "f(x) = {n}x^2 + {m}x - {k}",
    "{a},{b},{n},{m}\n{b},{a},{k},{n}",
)

SWAPS: dict[str, tuple[str, ...]] = {
    "half": ("a third of", "a fifth of", "double", "all"),
    "twice": ("three times", "half", "five times"),
    "three times": ("twice", "four times", "half"),
    "dozen": ("hundred", "pairs of", "score of"),
    "quarter": ("third", "tenth", "half"),
    "more": ("fewer", "less", "times more"),
    "fewer": ("more", "times more"),
    "less": ("more",),
    "younger": ("older",),
    "twins": ("triplets", "brothers", "quadruplets"),
    "hour": ("minute", "day"),
    "hours": ("seconds", "days", "minutes"),
    "minutes": ("hours", "days", "seconds"),
    "week": ("year", "fortnight", "decade", "weekend"),
    "weeks": ("days", "months", "years"),
    "day": ("hour", "week", "month"),
    "year": ("decade", "month", "week"),
    "month": ("century", "year"),
    "each": ("in total", "altogether"),
    "total": ("average", "difference", "product"),
    "left": ("at first", "in total"),
    "average": ("product", "total", "difference"),
    "perimeter": ("area", "diagonal", "width"),
    "percentage": ("fraction", "number"),
    "percent": ("fraction", "number"),
    "dozens": ("pairs", "hundreds", "boxes"),
    "times": ("more than", "percent of"),
    "increases": ("decreases", "stays the same"),
    "decreases": ("increases", "doubles"),
    "remain with": ("start with", "give away"),
    "bigger": ("smaller",),
    "feet": ("inches", "miles"),
    "yards": ("miles", "inches"),
    "cents": ("dollars",),
    "two": ("three", "five", "ten"),
    "gave": ("took", "lost"),
    "bought": ("sold", "returned", "lost"),
    "How many": ("How much longer", "What fraction", "Why"),
    "How much": ("How often", "How many days", "Who"),
    "how many": ("how far", "what percentage", "why"),
    "longer": ("shorter", "farther"),
    "boys": ("teachers",),
    "girls": ("teachers",),
}
