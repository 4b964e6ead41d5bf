/* Calls, returns and indirect jumps: a recursive function, and an interpreter of byte codes. */
#include "bench.h"

__attribute__((noinline)) static uint64_t fibonacci(unsigned n) { return n < 2 ? n : fibonacci(n - 1) + fibonacci(n - 2); }

__attribute__((noinline)) static uint64_t interpret(const uint8_t *code, int length, int rounds) {
  static const void *const targets[] = {&&add, &&shift, &&flip, &&multiply, &&end};
  uint64_t x = 1;
  for (int round = 0; round < rounds; ++round) {
    const uint8_t *at = code;
    const uint8_t *stop = code + length;
    goto *targets[*at];
  add:
    x += 12345;
    if (++at < stop) goto *targets[*at];
    continue;
  shift:
    x = x << 7 | x >> 57;
    if (++at < stop) goto *targets[*at];
    continue;
  flip:
    x ^= 0x5555;
    if (++at < stop) goto *targets[*at];
    continue;
  multiply:
    x *= 31;
    if (++at < stop) goto *targets[*at];
    continue;
  end:
    continue;
  }
  return x;
}

int main(void) {
  static uint8_t code[4096];
  uint64_t seed = 3;
  for (unsigned i = 0; i < sizeof code; ++i) code[i] = (uint8_t)(bench_random(&seed) % 4);
  bench_begin();
  bench_end("calls", fibonacci(34) ^ interpret(code, sizeof code, 6000));
}
