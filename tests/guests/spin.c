/* Loops forever with interrupts off ("how=0"), halts forever ("how=1"), or floods the serial port ("how=2"). */
#include "guest.h"

u32 guest_main(u32 magic, const struct multiboot_info *info) {
  (void)magic;
  u32 how = option(info, "how", 0);
  print("spinning\n");
  for (;;) {
    if (how == 1) __asm__ volatile("cli; hlt");
    if (how == 2) out8(com1, 'x');
  }
}
