# instep_folder(NAME [TORCH] [DEPENDS folders…] [LINK libraries…]) makes the target instep_NAME from
# src/NAME/*.cc, and from src/NAME/*_test.cc the test program NAME_test, whose cases ctest knows. A folder
# without sources yet makes nothing.
function(instep_folder name)
  cmake_parse_arguments(arg "TORCH" "" "DEPENDS;LINK" ${ARGN})
  file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/src/${name}/*.cc)
  set(tests ${sources})
  list(FILTER sources EXCLUDE REGEX "_test\\.cc$")
  list(FILTER tests INCLUDE REGEX "_test\\.cc$")
  if(NOT sources)
    return()
  endif()
  add_library(instep_${name} STATIC ${sources})
  target_include_directories(instep_${name} PUBLIC $<BUILD_INTERFACE:${CMAKE_SOURCE_DIR}/src>
                                                   $<BUILD_INTERFACE:${CMAKE_SOURCE_DIR}/include>
                                                   $<INSTALL_INTERFACE:include>)
  instep_flags(instep_${name})
  foreach(dependency ${arg_DEPENDS})
    if(TARGET instep_${dependency})
      target_link_libraries(instep_${name} PUBLIC instep_${dependency})
    endif()
  endforeach()
  target_link_libraries(instep_${name} PUBLIC ${arg_LINK})
  if(arg_TORCH)
    target_link_libraries(instep_${name} PUBLIC Libtorch::torch)
  endif()
  if(INSTEP_TESTS AND tests)
    add_executable(${name}_test ${tests})
    target_link_libraries(${name}_test PRIVATE instep_${name} GTest::gtest GTest::gtest_main)
    instep_flags(${name}_test)
    gtest_discover_tests(${name}_test TEST_PREFIX ${name}. DISCOVERY_TIMEOUT 60
                         PROPERTIES TIMEOUT 300)
  endif()
endfunction()

# The flags of all our code. Contraction off: an expression has one meaning, whatever the compiler.
function(instep_flags target)
  target_compile_options(${target} PRIVATE -Wall -Wextra -Wshadow -Wnon-virtual-dtor -ffp-contract=off)
  if(INSTEP_SANITIZE)
    string(REPLACE ";" "," list "${INSTEP_SANITIZE}")
    target_compile_options(${target} PRIVATE -fsanitize=${list} -fno-omit-frame-pointer -g1)
    target_link_options(${target} PUBLIC -fsanitize=${list})
  endif()
endfunction()
