# The engine conformance suite: tiny guests (conformance/guests, assembled here), one source for every engine.
find_program(NAGAYA_NASM nasm REQUIRED)
set(conformance_sources ${CMAKE_CURRENT_SOURCE_DIR}/conformance)
set(conformance_guests ${CMAKE_CURRENT_BINARY_DIR}/conformance)
file(GLOB guest_texts CONFIGURE_DEPENDS ${conformance_sources}/guests/*.asm)
file(GLOB guest_includes CONFIGURE_DEPENDS ${conformance_sources}/guests/*.inc)
set(guest_images)
foreach(text ${guest_texts})
  get_filename_component(name ${text} NAME_WE)
  add_custom_command(
    OUTPUT ${conformance_guests}/${name}.bin
    COMMAND ${CMAKE_COMMAND} -E make_directory ${conformance_guests}
    COMMAND ${NAGAYA_NASM} -f bin -Wall -i ${conformance_sources}/guests/ -o ${conformance_guests}/${name}.bin ${text}
    DEPENDS ${text} ${guest_includes}
    VERBATIM)
  list(APPEND guest_images ${conformance_guests}/${name}.bin)
endforeach()
add_custom_target(conformance_guests DEPENDS ${guest_images})

file(GLOB conformance_texts CONFIGURE_DEPENDS ${conformance_sources}/*.cpp)
add_executable(conformance_test ${conformance_texts})
add_dependencies(conformance_test conformance_guests)
target_link_libraries(conformance_test PRIVATE machine GTest::gtest GTest::gtest_main)
target_compile_definitions(conformance_test PRIVATE
  NAGAYA_CONFORMANCE_GUESTS="${conformance_guests}" NAGAYA_CONFORMANCE_SOURCES="${conformance_sources}"
  NAGAYA_CONFORMANCE_SOFT=1)
add_test(NAME conformance COMMAND conformance_test)
set_tests_properties(conformance PROPERTIES LABELS "guest" TIMEOUT 1800)
