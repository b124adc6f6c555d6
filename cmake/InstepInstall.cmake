# What cmake --install puts under the prefix: bin/instep, libexec/instep/instep-agent, the public headers,
# the static libraries that a user's program links, and a CMake package by which
# find_package(instep) gives the target instep::instep.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

if(TARGET instep)
  install(TARGETS instep RUNTIME)
endif()
if(TARGET instep-agent)
  # It still finds libtorch, which stays where it is: FindLibtorch links with that place as rpath.
  # CMake would add it once more for the build tree, with an empty entry behind it, and there the
  # loader looks for libraries in the current directory.
  set_target_properties(instep-agent PROPERTIES SKIP_BUILD_RPATH ON)
  install(TARGETS instep-agent RUNTIME DESTINATION ${CMAKE_INSTALL_LIBEXECDIR}/instep)
endif()

# The folders' targets that `target` links, itself included.
function(instep_linked result target)
  set(found ${target})
  get_target_property(links ${target} LINK_LIBRARIES)
  foreach(link ${links})
    if(link MATCHES "^instep_" AND TARGET ${link})
      instep_linked(more ${link})
      list(APPEND found ${more})
    endif()
  endforeach()
  list(REMOVE_DUPLICATES found)
  set(${result} ${found} PARENT_SCOPE)
endfunction()

if(TARGET instep_train AND EXISTS ${CMAKE_SOURCE_DIR}/include/instep)
  add_library(instep_public INTERFACE)
  add_library(instep::instep ALIAS instep_public)
  set_target_properties(instep_public PROPERTIES EXPORT_NAME instep)
  target_compile_features(instep_public INTERFACE cxx_std_20)
  target_link_libraries(instep_public INTERFACE instep_train)

  set(package ${CMAKE_INSTALL_LIBDIR}/cmake/instep)
  instep_linked(linked instep_train)
  install(TARGETS instep_public ${linked} EXPORT instepTargets ARCHIVE)
  install(DIRECTORY include/instep DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}
          FILES_MATCHING PATTERN *.h)
  install(EXPORT instepTargets NAMESPACE instep:: DESTINATION ${package})
  configure_package_config_file(cmake/instepConfig.cmake.in ${CMAKE_BINARY_DIR}/instepConfig.cmake
                                INSTALL_DESTINATION ${package})
  write_basic_package_version_file(${CMAKE_BINARY_DIR}/instepConfigVersion.cmake
                                   COMPATIBILITY SameMinorVersion)
  install(FILES ${CMAKE_BINARY_DIR}/instepConfig.cmake ${CMAKE_BINARY_DIR}/instepConfigVersion.cmake
                cmake/FindLibtorch.cmake
          DESTINATION ${package})
endif()
