/* Reads of the clock, which the C library makes without a system call where the kernel's clock allows it. */
#include "bench.h"

int main(void) {
  uint64_t backward = 0;
  bench_begin();
  double before = bench_now();
  for (int i = 0; i < 300000; ++i) {
    double now = bench_now();
    backward += now < before;
    before = now;
  }
  bench_end("clock", backward);
}
