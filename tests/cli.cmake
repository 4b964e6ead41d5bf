# What the command line shows: golden files, and scripts that must at least parse.
add_test(NAME cli.golden COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/check_golden $<TARGET_FILE:nagaya>)
add_test(NAME cli.bash_completion COMMAND bash -c "set -e -o pipefail; $<TARGET_FILE:nagaya> completion bash | bash -n")
add_test(NAME cli.manual COMMAND bash -c "set -e -o pipefail; test -z \"$($<TARGET_FILE:nagaya> help --man | man --warnings -l - 2>&1 >/dev/null)\"")
add_test(NAME cli.readme COMMAND /usr/bin/python3 -B ${CMAKE_CURRENT_SOURCE_DIR}/readme_walk $<TARGET_FILE:nagaya> ${CMAKE_SOURCE_DIR})
add_test(NAME cli.libvirt COMMAND /usr/bin/python3 -B ${CMAKE_CURRENT_SOURCE_DIR}/libvirt_domains $<TARGET_FILE:nagaya>)
set_tests_properties(cli.golden cli.readme cli.libvirt cli.bash_completion cli.manual PROPERTIES LABELS cli TIMEOUT 60)
