/* Integer arithmetic and unpredictable branches: lengths of Collatz sequences, with multiplications and divisions. */
#include "bench.h"

int main(void) {
  bench_begin();
  uint64_t sum = 0;
  for (uint64_t start = 1; start <= 300000; ++start) {
    uint64_t n = start, steps = 0;
    while (n != 1) {
      n = n & 1 ? 3 * n + 1 : n >> 1;
      ++steps;
    }
    sum = sum * 31 + steps * start / (steps + 7);
  }
  bench_end("integer", sum);
}
