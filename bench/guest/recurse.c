/* Deep recursion with little in each call: queens on a board, and Ackermann's function. */
#include "bench.h"

static unsigned queens(unsigned all, unsigned columns, unsigned down, unsigned up) {
  if (columns == all) return 1;
  unsigned found = 0;
  for (unsigned free = all & ~(columns | down | up); free != 0; free &= free - 1) {
    unsigned bit = free & -free;
    found += queens(all, columns | bit, (down | bit) << 1, (up | bit) >> 1);
  }
  return found;
}

__attribute__((noinline, optimize("no-optimize-sibling-calls"))) static unsigned ackermann(unsigned m, unsigned n) {
  if (m == 0) return n + 1;
  return n == 0 ? ackermann(m - 1, 1) : ackermann(m - 1, ackermann(m, n - 1));
}

int main(void) {
  bench_begin();
  uint64_t sum = queens((1 << 11) - 1, 0, 0, 0);
  for (int i = 0; i < 12; ++i) sum = sum * 31 + ackermann(3, 8);
  bench_end("recurse", sum);
}
