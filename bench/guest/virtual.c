/* Objects with tables of functions, in an order that no predictor knows, and a large switch. */
#include "bench.h"

struct shape;
struct methods {
  uint64_t (*area)(const struct shape *);
  void (*grow)(struct shape *, uint64_t);
};
struct shape {
  const struct methods *methods;
  uint64_t a, b;
};

#define KIND(name, area_is, grow_does)                                                \
  static uint64_t name##_area(const struct shape *s) { return area_is; }              \
  static void name##_grow(struct shape *s, uint64_t by) { grow_does; }                \
  static const struct methods name = {name##_area, name##_grow};

KIND(square, s->a * s->a, s->a += by)
KIND(oblong, s->a * s->b, (s->a += by, s->b += 1))
KIND(circle, s->a * s->a * 355 / 113, s->a ^= by)
KIND(frame, s->a * s->b - (s->a >> 1) * (s->b >> 1), s->b += by)
KIND(line, s->a + s->b, (s->a ^= s->b, s->b += by))

static uint64_t pick(uint64_t code, uint64_t x) {
  switch (code & 31) {
    case 0: return x + 1;
    case 1: return x ^ 0x55;
    case 2: return x * 3;
    case 3: return x >> 3 | x << 61;
    case 4: return ~x;
    case 5: return x - 77;
    case 6: return x & 1 ? x * 5 : x + 9;
    case 7: return x ^ x >> 7;
    case 8: return x * 9 + 4;
    case 9: return x << 2 ^ x;
    case 10: return x + code;
    case 11: return x - code;
    case 12: return x / 7 + 1;
    case 13: return x ^ code << 8;
    case 14: return x | 0x10001;
    case 15: return x * x + 1;
    case 16: return x > code ? x - code : x + code;
    case 17: return -x;
    case 18: return x ^ x << 13;
    case 19: return x % 1000003;
    default: return x + (code >> 5);
  }
}

int main(void) {
  enum { count = 997 };
  static struct shape shapes[count];
  static const struct methods *const kinds[] = {&square, &oblong, &circle, &frame, &line};
  uint64_t seed = 17, sum = 0;
  for (int i = 0; i < count; ++i) shapes[i] = (struct shape){kinds[bench_random(&seed) % 5], (uint64_t)i, (uint64_t)i + 3};
  bench_begin();
  for (int round = 0; round < 10000; ++round) {
    for (int i = 0; i < count; ++i) {
      struct shape *s = &shapes[i];
      sum += s->methods->area(s);
      if ((i & 3) == 0) s->methods->grow(s, sum & 7);
      if ((i & 1) == 0) sum = pick(s->a + (uint64_t)round, sum);
    }
  }
  bench_end("virtual", sum);
}
