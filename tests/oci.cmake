# The OCI runtime as its callers run it: containers with a small root, made and removed by the program itself.
find_package(nlohmann_json REQUIRED)
file(GLOB oci_test_sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/oci/*.cpp ${CMAKE_CURRENT_SOURCE_DIR}/oci/limits/*.cpp
     ${CMAKE_CURRENT_SOURCE_DIR}/oci/escapes/*_test.cpp)
add_executable(oci_test ${oci_test_sources})
target_include_directories(oci_test PRIVATE ${CMAKE_CURRENT_SOURCE_DIR})
target_link_libraries(oci_test PRIVATE GTest::gtest GTest::gmock GTest::gtest_main nlohmann_json::nlohmann_json cgroup procview migrate util)
# What tries to get out runs inside a root without libraries.
add_executable(oci_attacker ${CMAKE_CURRENT_SOURCE_DIR}/oci/escapes/attacker.cpp)
target_compile_options(oci_attacker PRIVATE -Os -g0 -fno-sanitize=all)
target_link_options(oci_attacker PRIVATE -static -s -fno-sanitize=all)
add_dependencies(oci_test nagaya-oci nagaya-procview oci_attacker)
target_compile_definitions(oci_test PRIVATE OCI_ATTACKER="$<TARGET_FILE:oci_attacker>")

# nagaya_container_test(NAME gtest-filter seconds)
function(nagaya_container_test name filter seconds)
  add_test(NAME container.${name} COMMAND oci_test --gtest_filter=${filter})
  set_tests_properties(container.${name} PROPERTIES LABELS container TIMEOUT ${seconds}
                       ENVIRONMENT "NAGAYA_OCI=$<TARGET_FILE:nagaya-oci>;NAGAYA_PROCVIEW=$<TARGET_FILE:nagaya-procview>")
endfunction()

nagaya_container_test(life "OciLife.*:OciExec.*" 300)
nagaya_container_test(process "OciProcess.*:OciTerminal.*" 300)
nagaya_container_test(spaces "OciNamespaces.*:OciRoot.*" 300)
nagaya_container_test(hooks "OciHooks.*:OciSeccomp.*" 300)
nagaya_container_test(escape "OciEscape*" 600)
nagaya_container_test(limits "OciLimits.*" 600)
nagaya_container_test(procview "OciProcview.*" 300)
nagaya_container_test(kill "OciKill.*" 600)

# Checkpoint, restore and moves need a CRIU that starts on this kernel: `make criu` fetches it before the tests.
add_executable(oci_worker ${CMAKE_CURRENT_SOURCE_DIR}/oci/programs/worker.cpp)
target_compile_options(oci_worker PRIVATE -O2 -fno-sanitize=all)
target_link_options(oci_worker PRIVATE -static -fno-sanitize=all)
add_dependencies(oci_test oci_worker)
set(NAGAYA_CRIU ${CMAKE_BINARY_DIR}/criu/bin/criu CACHE FILEPATH "CRIU 4.1 or newer")
nagaya_container_test(checkpoint "OciCheckpoint.*" 600)
nagaya_container_test(move "OciMove.*" 600)
set_tests_properties(container.checkpoint container.move PROPERTIES
  ENVIRONMENT "NAGAYA_OCI=$<TARGET_FILE:nagaya-oci>;NAGAYA_OCI_WORKER=$<TARGET_FILE:oci_worker>;NAGAYA_CRIU=${NAGAYA_CRIU}")

# podman over our runtime; 77: this host has no podman or cannot.
add_test(NAME container.podman COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/podman $<TARGET_FILE:nagaya-oci>)
set_tests_properties(container.podman PROPERTIES LABELS container TIMEOUT 900 SKIP_RETURN_CODE 77 ENVIRONMENT "NAGAYA_CRIU=${NAGAYA_CRIU}")
