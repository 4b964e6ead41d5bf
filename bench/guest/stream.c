/* Streams through memory far larger than the caches: copy, scale, add, triad. */
#include "bench.h"

int main(void) {
  enum { count = 4 << 20 };
  double *a = malloc(count * sizeof *a), *b = malloc(count * sizeof *b), *c = malloc(count * sizeof *c);
  for (int i = 0; i < count; ++i) a[i] = i, b[i] = 2.0 * i, c[i] = 0;
  bench_begin();
  for (int round = 0; round < 3; ++round) {
    for (int i = 0; i < count; ++i) c[i] = a[i];
    for (int i = 0; i < count; ++i) b[i] = 0.5 * c[i];
    for (int i = 0; i < count; ++i) c[i] = a[i] + b[i];
    for (int i = 0; i < count; ++i) a[i] = b[i] + 0.25 * c[i];
  }
  bench_end("stream", (uint64_t)(b[count / 3] + a[count / 5]));
}
