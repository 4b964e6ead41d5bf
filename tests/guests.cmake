# Small guests: each guests/NAME.c becomes a multiboot ELF kernel in the build folder's tests/guests.
find_program(NAGAYA_GUEST_CC NAMES gcc-12 gcc REQUIRED)
file(GLOB guest_sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/guests/*.c)
set(guest_folder ${CMAKE_CURRENT_BINARY_DIR}/guests)
set(guest_common ${CMAKE_CURRENT_SOURCE_DIR}/guests/start.S ${CMAKE_CURRENT_SOURCE_DIR}/guests/guest.h ${CMAKE_CURRENT_SOURCE_DIR}/guests/guest.ld)
set(guest_files)
foreach(source ${guest_sources})
  get_filename_component(name ${source} NAME_WE)
  add_custom_command(
    OUTPUT ${guest_folder}/${name}.elf
    COMMAND ${CMAKE_COMMAND} -E make_directory ${guest_folder}
    COMMAND ${NAGAYA_GUEST_CC} -m32 -march=i686 -mgeneral-regs-only -O2 -Wall -Wextra -ffreestanding -fno-pie -no-pie -static -nostdlib
            -fno-stack-protector -fno-asynchronous-unwind-tables -fcf-protection=none -Wl,--build-id=none -Wl,-z,max-page-size=4096 -Wl,--no-warn-rwx-segments
            -T ${CMAKE_CURRENT_SOURCE_DIR}/guests/guest.ld -o ${guest_folder}/${name}.elf
            ${CMAKE_CURRENT_SOURCE_DIR}/guests/start.S ${source}
    DEPENDS ${source} ${guest_common}
    VERBATIM)
  list(APPEND guest_files ${guest_folder}/${name}.elf)
endforeach()
add_custom_target(small_guests ALL DEPENDS ${guest_files})
