/* Hashing: a table with open addressing, filled, looked up and emptied. */
#include "bench.h"

enum { slots = 1 << 18 };
static uint64_t keys[slots];
static uint32_t counts[slots];

static uint64_t mix(uint64_t x) {
  x ^= x >> 33;
  x *= 0xff51afd7ed558ccdull;
  x ^= x >> 33;
  x *= 0xc4ceb9fe1a85ec53ull;
  return x ^ x >> 33;
}

int main(void) {
  bench_begin();
  uint64_t seed = 7, sum = 0;
  for (int i = 0; i < 4000000; ++i) {
    uint64_t key = bench_random(&seed) % 150000 + 1;
    uint64_t at = mix(key) % slots;
    while (keys[at] != 0 && keys[at] != key) at = (at + 1) % slots;
    keys[at] = key;
    sum += ++counts[at];
  }
  bench_end("hash", sum);
}
