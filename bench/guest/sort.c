/* Sorting through a comparison function: indirect calls, moves and compares. */
#include "bench.h"

static int compare(const void *a, const void *b) {
  uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
  return (x > y) - (x < y);
}

int main(void) {
  enum { count = 1000000 };
  uint32_t *values = malloc(count * sizeof *values);
  uint64_t seed = 42, sum = 0;
  for (int i = 0; i < count; ++i) values[i] = (uint32_t)bench_random(&seed);
  bench_begin();
  qsort(values, count, sizeof *values, compare);
  for (int i = 0; i < count; i += 1000) sum = sum * 33 + values[i];
  bench_end("sort", sum);
}
