/* Page faults: fresh memory touched page by page, given back, again. */
#include <sys/mman.h>

#include "bench.h"

int main(void) {
  const size_t size = 32u << 20;
  uint64_t sum = 0;
  bench_begin();
  for (int round = 0; round < 5; ++round) {
    volatile unsigned char *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) return 1;
    madvise((void *)memory, size, MADV_NOHUGEPAGE);
    for (size_t at = 0; at < size; at += 4096) {
      memory[at] = (unsigned char)round;
      sum += memory[at] + 1u;
    }
    munmap((void *)memory, size);
  }
  bench_end("faults", sum);
}
