/* Blocks set, copied, moved and compared by the C library, from a few bytes to a megabyte. */
#include <string.h>

#include "bench.h"

int main(void) {
  enum { size = 1 << 20 };
  unsigned char *a = calloc(2, size), *b = calloc(2, size);
  uint64_t sum = 0;
  bench_begin();
  for (size_t length = 16; length <= size; length *= 4) {
    for (size_t done = 0; done < 192u << 20; done += length + 4096) {
      size_t at = done % 4096;
      memset(a + at, (int)done, length);
      memcpy(b, a + at, length);
      memmove(b + 5, b, length);
      sum = sum * 31 + (uint64_t)(memcmp(a + at, b + 5, length) == 0) + b[length / 2];
    }
  }
  bench_end("memory", sum);
}
