# Programs that run inside Linux guests: each programs/NAME.c becomes a static executable /test/NAME in one archive, which is
# put behind a guest's RAM disk.
file(GLOB program_sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/programs/*.c)
file(GLOB program_headers CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/programs/*.h)
set(program_folder ${CMAKE_CURRENT_BINARY_DIR}/programs)
set(program_files)
foreach(source ${program_sources})
  get_filename_component(name ${source} NAME_WE)
  add_custom_command(
    OUTPUT ${program_folder}/test/${name}
    COMMAND ${CMAKE_COMMAND} -E make_directory ${program_folder}/test
    COMMAND ${NAGAYA_GUEST_CC} -O2 -Wall -Wextra -static -pthread -o ${program_folder}/test/${name} ${source}
    DEPENDS ${source} ${program_headers}
    VERBATIM)
  list(APPEND program_files ${program_folder}/test/${name})
endforeach()
set(NAGAYA_PROGRAMS ${CMAKE_CURRENT_BINARY_DIR}/programs.cpio)
add_custom_command(
  OUTPUT ${NAGAYA_PROGRAMS}
  COMMAND bash -c "set -o pipefail; find test | LC_ALL=C sort | cpio -o -H newc -R 0:0 --quiet >$1" pack ${NAGAYA_PROGRAMS}
  WORKING_DIRECTORY ${program_folder}
  DEPENDS ${program_files}
  VERBATIM)
add_custom_target(guest_programs ALL DEPENDS ${NAGAYA_PROGRAMS})
