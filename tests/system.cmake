# Tests of the whole program: small guests (label "guest"), and unmodified Debian kernels (labels "guest" and "slow").
find_program(NAGAYA_BASH bash REQUIRED)
set(NAGAYA_DEBIAN_GUESTS ${CMAKE_SOURCE_DIR}/build/guest CACHE PATH "Folder of the fetched Debian kernels and RAM disks")

file(GLOB system_sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/system/*.cpp)
add_executable(system_test ${system_sources})
target_include_directories(system_test PRIVATE ${CMAKE_CURRENT_SOURCE_DIR})
target_compile_definitions(system_test PRIVATE NAGAYA_SOURCE="${CMAKE_SOURCE_DIR}")
target_link_libraries(system_test PRIVATE GTest::gtest GTest::gmock GTest::gtest_main nlohmann_json::nlohmann_json util)
if(TARGET nagaya)
  add_dependencies(system_test nagaya nagaya-agent small_guests guest_programs)
endif()
foreach(helper nagaya-oci nagaya-vmm nagaya-net nagaya-init nagaya-reaper)
  if(TARGET ${helper})
    add_dependencies(system_test ${helper})
  endif()
endforeach()

# The images are made once before the first test that needs them.
add_test(NAME guest.images COMMAND ${CMAKE_SOURCE_DIR}/scripts/guest-images -o ${NAGAYA_DEBIAN_GUESTS} amd64 i386 fio)
set_tests_properties(guest.images PROPERTIES LABELS "guest;slow" FIXTURES_SETUP debian TIMEOUT 600)

add_test(NAME guest.debian COMMAND ${CMAKE_SOURCE_DIR}/scripts/debian-image $<TARGET_FILE:nagaya> ${NAGAYA_DEBIAN_GUESTS}/state)
set_tests_properties(guest.debian PROPERTIES LABELS "guest;slow" FIXTURES_SETUP whole_debian TIMEOUT 900)

# nagaya_system_test(NAME gtest-filter seconds [slow])
function(nagaya_system_test name filter seconds)
  add_test(NAME system.${name} COMMAND system_test --gtest_filter=${filter})
  set_tests_properties(system.${name} PROPERTIES
    LABELS "guest;${ARGN}" TIMEOUT ${seconds}
    ENVIRONMENT "NAGAYA=$<TARGET_FILE:nagaya>;NAGAYA_SMALL_GUESTS=${CMAKE_CURRENT_BINARY_DIR}/guests;NAGAYA_DEBIAN=${NAGAYA_DEBIAN_GUESTS};NAGAYA_PROGRAMS=${NAGAYA_PROGRAMS};NAGAYA_JAIL=strict")
  if("slow" IN_LIST ARGN)
    set_tests_properties(system.${name} PROPERTIES FIXTURES_REQUIRED debian)
  endif()
endfunction()

nagaya_system_test(outcomes "*Outcome*" 600)
nagaya_system_test(errors "Errors.*" 300)
nagaya_system_test(terminal "*Terminal.*" 600)
nagaya_system_test(nonsense "*Nonsense*" 900)
nagaya_system_test(saved "Saved.*" 600)
nagaya_system_test(look_inside "LookInside.*" 300)
nagaya_system_test(agent "Agent*.*" 900 slow)
nagaya_system_test(console_balloon "Devices.*" 600 slow)
nagaya_system_test(disk "Disk.*:*/Disk.*" 600 slow)
nagaya_system_test(disk_space "*DiskSpace*" 600 slow)
nagaya_system_test(disk_kill "*DiskKill*" 900 slow)
nagaya_system_test(share "Share.*" 600 slow)
nagaya_system_test(pmem "Pmem.*:*/Pmem*" 600 slow)
nagaya_system_test(net "Net.*" 900 slow)
nagaya_system_test(net_tap "NetTap.*" 600 slow)
nagaya_system_test(network "Network.*" 900 slow)
nagaya_system_test(linux_boot "*LinuxBoot*" 1200 slow)
nagaya_system_test(direct "*DirectTest*" 1200 slow)
nagaya_system_test(linux "Linux.*" 1200 slow)
nagaya_system_test(linux_saved "*LinuxSaved*" 1200 slow)
nagaya_system_test(oci "Oci.*" 900 slow)
nagaya_system_test(container_v2 "ContainerV2.*" 600 slow)
set_property(TEST system.container_v2 APPEND PROPERTY ENVIRONMENT "NAGAYA_OCI=$<TARGET_FILE:nagaya-oci>")
# Measured CPU time, and many processors: not beside others.
set_tests_properties(system.linux system.linux_saved PROPERTIES RUN_SERIAL TRUE)

# Bridges, nftables and dnsmasq in namespaces of the test's own; 77: this host or user cannot.
add_test(NAME system.network_bridge COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/network_bridge $<TARGET_FILE:nagaya> ${NAGAYA_DEBIAN_GUESTS})
set_tests_properties(system.network_bridge PROPERTIES LABELS "guest;slow" TIMEOUT 900 SKIP_RETURN_CODE 77 FIXTURES_REQUIRED debian)
# Containers by name, a whole Debian among them; 77: this host or user cannot.
add_test(NAME system.containers COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/containers $<TARGET_FILE:nagaya> ${NAGAYA_DEBIAN_GUESTS} ${NAGAYA_DEBIAN_GUESTS}/state)
set_tests_properties(system.containers PROPERTIES LABELS "guest;slow" TIMEOUT 600 SKIP_RETURN_CODE 77 FIXTURES_REQUIRED "debian;whole_debian")
# A container's TCP connections move with it, between two network namespaces; 77: this host or user cannot.
add_test(NAME system.container_move COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/container_move $<TARGET_FILE:nagaya> ${NAGAYA_DEBIAN_GUESTS} $<TARGET_FILE:oci_worker>)
set_tests_properties(system.container_move PROPERTIES LABELS "guest;slow" TIMEOUT 300 SKIP_RETURN_CODE 77 FIXTURES_REQUIRED debian)
# A mixed life under kill -9 of our processes; `make kills` is the long one. 77: this host or user cannot.
add_test(NAME system.kills COMMAND /usr/bin/python3 -B ${CMAKE_CURRENT_SOURCE_DIR}/kills $<TARGET_FILE:nagaya> ${NAGAYA_DEBIAN_GUESTS} ${CMAKE_CURRENT_BINARY_DIR}/guests --kills 80)
set_tests_properties(system.kills PROPERTIES LABELS "guest;slow" TIMEOUT 300 SKIP_RETURN_CODE 77 FIXTURES_REQUIRED debian)
# What the next boot finds; 77: this host or user cannot.
add_test(NAME system.reboot COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/reboot $<TARGET_FILE:nagaya> ${NAGAYA_DEBIAN_GUESTS})
set_tests_properties(system.reboot PROPERTIES LABELS "guest;slow" TIMEOUT 200 SKIP_RETURN_CODE 77 FIXTURES_REQUIRED debian)
# Containers of a user without rights; 77: this host cannot.
add_test(NAME system.rootless COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/rootless $<TARGET_FILE:nagaya> ${NAGAYA_DEBIAN_GUESTS})
set_tests_properties(system.rootless PROPERTIES LABELS "guest;slow" TIMEOUT 300 SKIP_RETURN_CODE 77 FIXTURES_REQUIRED debian)
# Every verb over both kinds, by the command line and by the API; 77: this user cannot. Its own state folder keeps the guests' kernel.
add_test(NAME system.verbs COMMAND /usr/bin/python3 -B ${CMAKE_CURRENT_SOURCE_DIR}/api/verbs_test.py $<TARGET_FILE:nagaya> ${NAGAYA_DEBIAN_GUESTS} ${CMAKE_CURRENT_BINARY_DIR}/verbs-state)
add_test(NAME system.kinds COMMAND /usr/bin/python3 -B ${CMAKE_CURRENT_SOURCE_DIR}/api/kinds_test.py $<TARGET_FILE:nagaya> ${NAGAYA_DEBIAN_GUESTS} ${CMAKE_CURRENT_BINARY_DIR}/verbs-state)
# One state folder: they run one after the other.
set_tests_properties(system.verbs system.kinds PROPERTIES LABELS "api;guest;slow" TIMEOUT 600 SKIP_RETURN_CODE 77 FIXTURES_REQUIRED debian RESOURCE_LOCK verbs-state)
# The web console on the real server, with real containers, in Chromium; 77: this host or user cannot, or the console is not built.
add_test(NAME web.real COMMAND ${CMAKE_SOURCE_DIR}/web/test/real $<TARGET_FILE:nagaya> ${NAGAYA_DEBIAN_GUESTS} ${CMAKE_BINARY_DIR}/web ${CMAKE_BINARY_DIR}/web-shots)
set_tests_properties(web.real PROPERTIES LABELS "web;guest;slow" TIMEOUT 300 PROCESSORS 2 SKIP_RETURN_CODE 77 FIXTURES_REQUIRED debian)
# A whole Debian, over the image of guest.debian.
function(nagaya_debian_test name filter seconds)
  nagaya_system_test(${name} ${filter} ${seconds} slow)
  set_property(TEST system.${name} APPEND PROPERTY FIXTURES_REQUIRED whole_debian)
  set_property(TEST system.${name} APPEND PROPERTY ENVIRONMENT
    "NAGAYA_STATE_DIR=${NAGAYA_DEBIAN_GUESTS}/state")
endfunction()

nagaya_debian_test(debian "Debian*" 1500)
