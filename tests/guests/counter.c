/* Counts in registers, memory and through the serial port for "steps=N" steps of "inner=N" rounds of work that any lost or doubled instruction
   would spoil, then prints the checksum. For saving and restoring at random moments: the sum depends on nothing else. */
#include "guest.h"

static u32 table[65536];

u32 guest_main(u32 magic, const struct multiboot_info *info) {
  (void)magic;
  u32 steps = option(info, "steps", 100), inner = option(info, "inner", 65536), seed = 12345, sum = 0;
  print("counting\n");
  for (u32 step = 0; step < steps; ++step) {
    for (u32 i = 0; i < inner; ++i) {
      u32 at = next_random(&seed) & 0xffff;
      table[at] = table[at] * 2654435761u + i;
      sum = (sum << 5 | sum >> 27) ^ table[(at + i) & 0xffff];
    }
    put('.');
  }
  print("\nsum ");
  print_number(sum);
  print("\n");
  return 3;
}
