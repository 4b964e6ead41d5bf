/* Scalar double precision without memory: points of the Mandelbrot set. */
#include "bench.h"

int main(void) {
  uint64_t sum = 0;
  bench_begin();
  for (int row = 0; row < 300; ++row) {
    for (int column = 0; column < 300; ++column) {
      double cx = column / 150.0 - 1.5, cy = row / 150.0 - 1.0, x = 0, y = 0;
      int steps = 0;
      while (steps < 1000 && x * x + y * y < 4) {
        double next = x * x - y * y + cx;
        y = 2 * x * y + cy;
        x = next;
        ++steps;
      }
      sum = sum * 31 + (uint64_t)steps;
    }
  }
  bench_end("mandel", sum);
}
