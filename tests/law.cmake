# The dependency law against the real includes, and facts about the tree.
add_test(NAME law.includes COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/check_law ${CMAKE_SOURCE_DIR})
add_test(NAME law.checker COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/check_law_test)
add_test(NAME law.tree COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/check_tree ${CMAKE_SOURCE_DIR})
set_tests_properties(law.includes law.checker law.tree PROPERTIES LABELS law TIMEOUT 300)
