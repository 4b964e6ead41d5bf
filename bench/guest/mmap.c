/* Mappings made, protected, touched and removed, a few pages each. */
#include <sys/mman.h>

#include "bench.h"

int main(void) {
  uint64_t sum = 0;
  bench_begin();
  for (int i = 0; i < 10000; ++i) {
    volatile unsigned char *memory = mmap(NULL, 16 << 12, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) return 1;
    memory[0] = (unsigned char)i;
    memory[5 << 12] = 3;
    if (mprotect((void *)memory, 1 << 12, PROT_READ) != 0) return 1;
    sum += memory[0] + memory[5 << 12];
    munmap((void *)memory, 16 << 12);
  }
  bench_end("mmap", sum);
}
