"""Hand-written texts of kinds that training never sees; the right reply to each is `none`.

`PROBLEMS` are word problems of other wording and structure than the taught templates. They have answers,
but the model was not taught to read them, so abstaining is what it should do.
"""

from __future__ import annotations

PROBLEMS: tuple[str, ...] = (
    "A farmer keeps 14 hens. Each hen lays 5 eggs a week. He eats 3 eggs every day and sells the "
    "remaining eggs for $2 each. How much does he earn per week?",
    "A jacket needs 4 meters of wool and half that much silk. How many meters of fabric does it need?",
    "Rosa buys an old van for $6,000 and spends $1,500 on repairs. She then sells it for twice what she "
    "paid for the van. What is her profit?",
    "Owen does 12 push-ups 4 times a day, 5 days a week. How many push-ups does he do in a week?",
    "A zoo feeds each of its 9 monkeys 4 bananas at noon and 3 bananas in the evening. How many bananas "
    "are needed for 5 days?",
    "Glasses cost 8 dollars, but every second glass costs only half the price. How much do 12 glasses cost?",
    "Lisbon has three times as many trams as Porto. Porto has 5 times as many trams as Faro. If Faro "
    "has 6 trams, how many trams do the three cities have together?",
    "Downloading a film of 300 gigabytes runs at 3 gigabytes per minute. After 40% the computer "
    "restarts for 25 minutes and the download begins again. How long does it take in all?",
    "Martin drives away from home for 4 hours at 55 mph, then turns around and drives back for 3 hours "
    "at 30 mph. How far from home is he?",
    "Nadia earns $12 an hour for the first 40 hours of a week and one and a half times that for "
    "overtime. What does she earn for 46 hours?",
    "A new phone app had 70 downloads in its first month, four times as many in the second, and then "
    "20% less in the third. How many downloads were there over the three months?",
    "Paula bought 5 boxes of donuts at $7 each, 3 pies at $9 each, and 2 cakes at $21 each. What was the bill?",
    "A tailor cuts 96 meters of cloth into pieces of 4 meters. A quarter of the pieces are spoiled. How "
    "many good pieces are there?",
    "Gloria wants boots that cost $140 and two pairs of shoes for $60 and $75. How much more are the "
    "boots than both pairs of shoes together?",
    "A pool fills at 30 liters a minute and leaks at 4 liters a minute. How many liters are in it after half an hour?",
    "Henry and his sister picked 48 berries. He picked three times as many as she did. How many did she pick?",
    "A bus starts with 31 passengers. At the first stop 8 get off and 5 get on, at the second 12 get "
    "off. How many passengers are on the bus now?",
    "A candle burns 2 centimeters an hour. How short will a 30 centimeter candle be after burning from 1 PM to 5 PM?",
    "Kofi's test scores were 78, 85, 92 and 81. What average does he have?",
    "Every shelf of a bookcase has 18 books. The bookcase has 6 shelves. If 27 books are lent out, how "
    "many remain in the bookcase?",
    "Two trains leave the same station in opposite directions at 60 and 75 km per hour. How far apart "
    "are they after 2 hours?",
    "A rectangular garden is 12 meters long and 7 meters wide. What does a fence around it cost at $9 per meter?",
    "Mr. Okafor has 160 liters of milk and fills 64 bottles with it equally. How much is in each bottle?",
    "Tim rides his bike to work and back 5 times a week. Work is 20 miles away. On the weekend he rides "
    "200 miles. His speed is 25 mph. How many hours does he ride per week?",
    "Bella bought stamps: 11 snowflake stamps, 9 more truck stamps than snowflake stamps, and 13 fewer "
    "rose stamps than truck stamps. How many stamps did she buy in all?",
    "In a choir of 40 singers, 60% sing soprano or alto and the rest sing tenor or bass. How many sing tenor or bass?",
    "A shop reduces a coat of $250 by 30% and then takes another $15 off. What must be paid?",
    "Out of 200 pupils 3/5 come by bus and 1/4 of the others come by bike. The rest walk. How many walk?",
    "The sum of three consecutive even numbers is 90. What is the largest?",
    "Four friends share a bill of $86 and add a tip of 25%. How much does each pay?",
    "Jonas is 4 years younger than twice the age of his cousin. His cousin is 13. How old will Jonas be in 6 years?",
    "A printer prints 24 pages a minute. How many minutes does it need for 3 copies of a 160-page book?",
    "Ines has 3 red marbles, twice as many blue ones, and 5 fewer green ones than blue ones. How many "
    "marbles does Ines have?",
    "A hotel has 7 floors with 24 rooms on each floor. If 45 rooms are empty, how many rooms are taken?",
    "A car uses 7 liters of fuel for 100 km. How many liters does it need for 350 km?",
    "Water costs $1.20 a bottle, juice $2.50. Ali buys 6 waters and 4 juices and pays with a $20 bill. "
    "What is his change?",
    "A snail climbs 3 feet each day and slides back 2 feet each night. On which day does it reach the "
    "top of a 10-foot wall?",
    "The perimeter of a square is 52 cm. What is its area?",
    "There are 25 roses in a garden. There are 40 tulips. There are 35 daisies. What percentage of the "
    "flowers are not roses?",
    "Uma can type 65 words per minute and Raj 80. How many more words does Raj type in an hour and a half?",
    "Seven bags of rice weigh 84 kg. What do 11 such bags weigh?",
    "A kite costs $18. Sam has saved $5 and gets $3 pocket money a week. After how many weeks can he buy it?",
    "A library lends 1,240 books in May and 15% more in June. How many books does it lend in these months?",
    "Each of the 6 tents sleeps 4 people. How many more tents do 37 people need?",
    "A recipe for 4 people takes 300 g of flour. How much flour is needed for 10 people?",
    "Ken mailed a box. He put jelly beans in until it weighed 2 pounds, brownies until it was three "
    "times as heavy, then another 2 pounds of jelly beans, and finally gummy worms to double the "
    "weight. How heavy was it?",
    "Marie orders one chicken meal for $12, 5 packs of milk for $3 each, 4 apples for $1.50 each, and "
    "some pizzas. The total is $50 and each pizza costs $8.50. How many pizzas did she order?",
    "Of 90 animals on a farm, there are twice as many sheep as goats. How many goats are there?",
    "Ella runs 2.5 miles on Monday, 3 miles on Wednesday and half a mile more than that on Friday. What "
    "distance does she run in the week?",
    "A rope 45 m long is cut so that one part is 4 times as long as the other. How long is the shorter part?",
)

PROSE: tuple[str, ...] = (
    "The Treaty of Westphalia was signed in 1648 and ended thirty years of war in central Europe.",
    "On 14 July 2019 the festival drew a crowd of 23,000, the largest in its history.",
    "Preheat the oven to 180 degrees. Mix 200 g of butter with 3 eggs and bake for 40 minutes.",
    "Quarterly revenue rose 12% to $4.6 billion, while operating costs fell by 3%.",
    "She closed the window, put the letter back in the drawer and went downstairs without a word.",
    "Version 2.4.1 fixes 17 bugs and drops support for Python 3.8.",
    "The lighthouse stands 42 meters tall on a cliff and can be seen from 30 kilometers away.",
    "Dear Ms. Alvarez, thank you for your application of 3 March. We have 2 further questions.",
    "Photosynthesis turns carbon dioxide and water into sugar and oxygen with the help of light.",
    "Flight 381 to Oslo departs at 17:45 from gate 12; boarding closes 20 minutes earlier.",
    "In the second half the home team scored 3 goals within 9 minutes and won 4-2.",
    "Patients took 50 mg twice daily for 6 weeks; 8 of 120 reported headaches.",
    "Emma has a dog named Max. Max loves to run in the park and chase squirrels.",
    "Every week David writes a letter to his 2 sisters, who live in Boston.",
    "There are 20 students in the class. It was a sunny day and everyone was happy.",
)

COMMANDS: tuple[str, ...] = (
    "Write a sonnet about autumn.",
    "Summarize the plot of Hamlet in 3 sentences.",
    "Please book me a flight from Berlin to Rome on May 5 for 2 adults.",
    "Refactor this function so that it uses a dictionary instead of 5 if statements.",
    "Sort the following words alphabetically: pear, fig, apple, kiwi.",
    "What are the pros and cons of remote work?",
    "Make a shopping list for a dinner with 6 guests.",
    "Create a 7-day workout plan for beginners.",
    "Delete all files older than 30 days from the temp folder.",
    "Find 4 papers on sparse attention and list their authors.",
    "Turn off the lights at 22:30.",
    "Explain the difference between TCP and UDP.",
    "Write a word problem about 3 apples and 5 oranges.",
    "Generate 10 random numbers between 1 and 100.",
    "Draw a picture of a cat with 2 hats.",
    "Tell me how many apples are left.",
    "Solve the problem.",
    "Give the result as your final answer. Do not include units.",
    "Convert 5 miles to kilometers and round to 2 decimals.",
    "Schedule a meeting with James, David and Emma for 45 minutes.",
)

TRIVIA: tuple[str, ...] = (
    "Who was the 16th president of the United States?",
    "How many bones does an adult human have?",
    "What is the boiling point of water at 2000 meters?",
    "Is 91 a prime number?",
    "In which year did Apollo 11 land on the Moon?",
    "What is 17% of 340?",
    "How many minutes are there in 3 days?",
    "What is the cube root of 729?",
    "Which planet has 2 moons called Phobos and Deimos?",
    "What comes next: 2, 3, 5, 8, 13?",
    "If today is Tuesday, what day is it in 100 days?",
    "How many sides does a dodecagon have?",
    "What is the probability of rolling two sixes with 2 dice?",
    "Convert 98.6 degrees Fahrenheit to Celsius.",
    "Which is larger, 9.11 or 9.9?",
    "How many prime numbers are there below 50?",
    "What is the derivative of 3x^2 + 5x?",
    "What time is it in Tokyo when it is 9:00 in London?",
)

OTHER: tuple[str, ...] = (
    "def area(r):\n    return 3.14159 * r ** 2",
    "SELECT name, age FROM users WHERE age > 30 ORDER BY age DESC LIMIT 5;",
    '{"name": "David", "apples": 5, "price": 2.5}',
    "3 * (17 - 4) / 2 + 9",
    "x^2 - 5x + 6 = 0",
    "Jean a 12 pommes et en donne 5 à Marie. Combien de pommes lui reste-t-il ?",
    "Anna hat 8 Bücher. Sie kauft 3 weitere. Wie viele Bücher hat sie jetzt?",
    "Hay 24 alumnos en la clase y 10 son chicas. ¿Cuántos chicos hay?",
    "小明有5个苹果，吃了2个，还剩几个？",
    "У Маши было 7 яблок, она отдала 3. Сколько осталось?",
    "asdf 12 qwer 34 zxcv",
    "1 2 3 4 5 6 7 8 9 10",
    "???",
    "David David David 5 5 5",
    "apples 3 $2 each total?",
    "https://example.org/item?id=42&page=7",
    "git rebase -i HEAD~3",
    "| a | b |\n|---|---|\n| 1 | 2 |",
    "10:30 standup, 11:00 review, 12:30 lunch with 2 guests",
    "Name: Emma\nAge: 34\nCity: Oslo",
)

FAMILIES: dict[str, tuple[str, ...]] = {
    "hand_problems": PROBLEMS,
    "hand_prose": PROSE,
    "hand_commands": COMMANDS,
    "hand_trivia": TRIVIA,
    "hand_other": OTHER,
}

NAMES: tuple[str, ...] = (
    "Thorsten", "Brigitte", "Oluwaseun", "Siobhan", "Guillermo", "Annika", "Desmond", "Francesca", "Jurgen",
    "Kimberly", "Ludmila", "Maximilian", "Nigel", "Ottilie", "Prakash", "Rosalind", "Terrence", "Ursula",
)  # fmt: skip

CALIBRATION_NAMES: tuple[str, ...] = (
    "Aurelio", "Bronwyn", "Cornelius", "Dagmar", "Evangeline", "Ferdinand", "Gwendolyn", "Hildegard", "Ignatius",
    "Katarzyna", "Leopold", "Millicent", "Nkechi", "Orlando", "Philippa", "Rigoberto", "Tobias", "Winifred",
)  # fmt: skip
