/* Sends back each byte that comes in on the serial port, in upper case; 'q' ends with debug exit 1. */
#include "guest.h"

u32 guest_main(u32 magic, const struct multiboot_info *info) {
  (void)magic, (void)info;
  print("ready\n");
  for (;;) {
    while ((in8(com1 + 5) & 1) == 0) {
    }
    u8 c = in8(com1);
    if (c == 'q') return 1;
    put((char)(c >= 'a' && c <= 'z' ? c - 32 : c));
  }
}
