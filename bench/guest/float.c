/* Scalar floating point: a few bodies under gravity, with square roots and divisions. */
#include <math.h>
#include <string.h>

#include "bench.h"

struct body {
  double x, y, z, vx, vy, vz, mass;
};

int main(void) {
  enum { count = 6 };
  struct body bodies[count];
  for (int i = 0; i < count; ++i) bodies[i] = (struct body){i * 1.5, i * 0.7 - 2, 3 - i * 0.4, 0.01 * i, 0.02, -0.01 * i, 1.0 / (i + 1)};
  bench_begin();
  for (int step = 0; step < 600000; ++step) {
    for (int i = 0; i < count; ++i) {
      for (int j = i + 1; j < count; ++j) {
        struct body *a = &bodies[i], *b = &bodies[j];
        double dx = a->x - b->x, dy = a->y - b->y, dz = a->z - b->z;
        double square = dx * dx + dy * dy + dz * dz + 0.01;
        double scale = 0.0001 / (square * sqrt(square));
        a->vx -= dx * b->mass * scale;
        a->vy -= dy * b->mass * scale;
        a->vz -= dz * b->mass * scale;
        b->vx += dx * a->mass * scale;
        b->vy += dy * a->mass * scale;
        b->vz += dz * a->mass * scale;
      }
    }
    for (int i = 0; i < count; ++i) {
      bodies[i].x += 0.0001 * bodies[i].vx;
      bodies[i].y += 0.0001 * bodies[i].vy;
      bodies[i].z += 0.0001 * bodies[i].vz;
    }
  }
  uint64_t bits;
  memcpy(&bits, &bodies[0].x, sizeof bits);
  bench_end("float", bits);
}
