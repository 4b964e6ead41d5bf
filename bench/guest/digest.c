/* Hashing of bytes: additions, rotations and exclusive ors on a block of sixteen words, all in registers or on the stack. */
#include <string.h>

#include "bench.h"

static uint32_t turn(uint32_t x, int n) { return x << n | x >> (32 - n); }

static void mix(uint32_t *v, int a, int b, int c, int d) {
  v[a] += v[b], v[d] = turn(v[d] ^ v[a], 16);
  v[c] += v[d], v[b] = turn(v[b] ^ v[c], 11);
  v[a] += v[b], v[d] = turn(v[d] ^ v[a], 8);
  v[c] += v[d], v[b] = turn(v[b] ^ v[c], 5);
}

int main(void) {
  static uint8_t data[1 << 16];
  uint64_t seed = 21;
  for (unsigned i = 0; i < sizeof data; ++i) data[i] = (uint8_t)bench_random(&seed);
  uint32_t state[16] = {1};
  bench_begin();
  for (int round = 0; round < 500; ++round) {
    for (unsigned at = 0; at < sizeof data; at += 64) {
      uint32_t block[16];
      memcpy(block, data + at, sizeof block);
      for (int i = 0; i < 16; ++i) state[i] ^= block[i];
      for (int twice = 0; twice < 4; ++twice) {
        for (int i = 0; i < 4; ++i) mix(state, i, i + 4, i + 8, i + 12);
        for (int i = 0; i < 4; ++i) mix(state, i, (i + 1) % 4 + 4, (i + 2) % 4 + 8, (i + 3) % 4 + 12);
      }
    }
  }
  bench_end("digest", (uint64_t)state[0] << 32 | state[5]);
}
