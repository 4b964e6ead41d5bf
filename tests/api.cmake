# The server over a back end that exists in memory only: `nagaya-server-fake`, for the tests here and for the web console's.
add_library(api_fake STATIC api/fake_backend.cpp api/fake_terminal.cpp)
target_include_directories(api_fake PUBLIC ${CMAKE_CURRENT_SOURCE_DIR}/api)
target_link_libraries(api_fake PUBLIC api_http)
add_executable(nagaya-server-fake api/fake_server.cpp)
target_link_libraries(nagaya-server-fake PRIVATE api_fake)

# Debian's own Python has Debian's modules.
set(api_python /usr/bin/python3 -B)
set(api_document ${CMAKE_SOURCE_DIR}/src/api/openapi.yaml)
add_test(NAME api.contract COMMAND ${api_python} ${CMAKE_CURRENT_SOURCE_DIR}/api/contract_test.py $<TARGET_FILE:nagaya-server-fake> ${api_document})
add_test(NAME api.access COMMAND ${api_python} ${CMAKE_CURRENT_SOURCE_DIR}/api/access_test.py $<TARGET_FILE:nagaya-server-fake> ${api_document})
add_test(NAME api.live COMMAND ${api_python} ${CMAKE_CURRENT_SOURCE_DIR}/api/live_test.py $<TARGET_FILE:nagaya-server-fake>)
add_test(NAME api.fuzz COMMAND ${api_python} ${CMAKE_CURRENT_SOURCE_DIR}/api/fuzz/fuzz_api.py $<TARGET_FILE:nagaya-server-fake> ${api_document})
# Client certificates by openssl, curl and the command line; 77: no openssl.
add_test(NAME api.certificates COMMAND ${api_python} ${CMAKE_CURRENT_SOURCE_DIR}/api/certificates_test.py $<TARGET_FILE:nagaya-server-fake> $<TARGET_FILE:nagaya>)
set_tests_properties(api.certificates PROPERTIES LABELS api TIMEOUT 120 SKIP_RETURN_CODE 77)
set_tests_properties(api.contract api.access api.live api.fuzz PROPERTIES LABELS api TIMEOUT 300)
add_test(NAME api.units COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/api/units_test ${CMAKE_SOURCE_DIR}/systemd)
set_tests_properties(api.units PROPERTIES LABELS api TIMEOUT 60)
add_test(NAME api.definition COMMAND ${api_python} ${CMAKE_CURRENT_SOURCE_DIR}/api/definition_test.py $<TARGET_FILE:nagaya> ${api_document})
set_tests_properties(api.definition PROPERTIES LABELS api TIMEOUT 120 ENVIRONMENT "NAGAYA_STATE_DIR=${CMAKE_CURRENT_BINARY_DIR}/definition-state;NAGAYA_RUNTIME_DIR=${CMAKE_CURRENT_BINARY_DIR}/definition-run")
