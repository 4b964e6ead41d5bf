/* Reads and writes every port and much of the address space outside RAM with random values of every size. Options:
   "seed=N", "rounds=N", and "rude=1" to also touch what may legitimately end the machine (reset, power, debug exit) or take
   the ground from under this program (A20). Ends with debug exit 42 when it gets through. */
#include "guest.h"

static int ends_us(u16 port) {
  return (port >= 0xf1 && port <= 0xf7) || port == 0x92 || port == 0x91 || port == 0x8f || port == 0x90 ||
         (port >= 0x5d && port <= 0x64) || (port >= 0xcf5 && port <= 0xcff) || (port >= 0x5fd && port <= 0x63f) ||
         (port >= 0xafd && port <= 0xb3f) || (port >= 0x511 && port <= 0x51b);
}

static void touch_port(u16 port, u32 *seed) {
  u32 value = next_random(seed);
  switch (next_random(seed) % 6) {
    case 0: out8(port, (u8)value); break;
    case 1: out16(port, (u16)value); break;
    case 2: out32(port, value); break;
    case 3: (void)in8(port); break;
    case 4: (void)in16(port); break;
    case 5: (void)in32(port); break;
  }
}

static void touch_memory(u32 address, u32 *seed) {
  u32 value = next_random(seed);
  switch (next_random(seed) % 6) {
    case 0: *(volatile u8 *)address = (u8)value; break;
    case 1: *(volatile u16 *)address = (u16)value; break;
    case 2: *(volatile u32 *)address = value; break;
    case 3: (void)*(volatile u8 *)address; break;
    case 4: (void)*(volatile u16 *)address; break;
    case 5: (void)*(volatile u32 *)address; break;
  }
}

u32 guest_main(u32 magic, const struct multiboot_info *info) {
  (void)magic;
  u32 seed = option(info, "seed", 1), rounds = option(info, "rounds", 1), rude = option(info, "rude", 0);
  /* One page at each place of interest, then anywhere above the largest possible low RAM. */
  static const u32 places[] = {0x000a0000, 0x000c0000, 0x000e0000, 0xb0000000, 0xb00f8000, 0xbffff000, 0xc0000000, 0xfebff000,
                               0xfec00000, 0xfed00000, 0xfee00000, 0xfee01000, 0xfeeff000, 0xff000000, 0xfffe0000, 0xfffff000};
  print("nonsense begins\n");
  for (u32 round = 0; round < rounds; ++round) {
    for (u32 port = 0; port < 0x10000; ++port) {
      if (!rude && ends_us((u16)port)) continue;
      touch_port((u16)port, &seed);
    }
    for (u32 place = 0; place < sizeof places / sizeof *places; ++place)
      for (u32 i = 0; i < 1024; ++i) touch_memory(places[place] + next_random(&seed) % 4093, &seed);
    for (u32 i = 0; i < 20000; ++i) touch_memory((0xb0000000u + next_random(&seed) % 0x4fff0000u) & 0xfffffff0u, &seed);
    /* Configuration space of every device and function on a few buses, by the first mechanism. */
    for (u32 i = 0; i < 4096; ++i) {
      out32(0xcf8, 0x80000000u | (next_random(&seed) & 0x3fffc));
      touch_port((u16)(0xcfc + next_random(&seed) % 4), &seed);
    }
  }
  /* The line may have been left in any state: the divisor latch hides the data register. */
  out8(com1 + 3, 3);
  out8(com1 + 4, 0);
  out8(com1 + 1, 0);
  return 42;
}
