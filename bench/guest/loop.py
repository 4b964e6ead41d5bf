# Python's own work: objects, dictionaries, strings, big integers.
words = {}
for i in range(60000):
    key = "w%d" % (i * 7919 % 5003)
    words[key] = words.get(key, 0) + i


class Counter:
    def __init__(self):
        self.total = 0

    def add(self, n):
        self.total += n % 7


counter = Counter()
for n in sorted(words.values()):
    for i in range(20):
        counter.add(n + i)
print(len(words), counter.total, pow(3, 20000) % 1000003)
