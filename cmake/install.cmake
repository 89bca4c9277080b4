# `cmake --install build/release --prefix DIR`: a tree that can be moved as a whole.
#   bin/ravenwing                the program
#   lib/libravenwing.so          the library, and beside it the WebGPU library that both load
#   lib/cmake/Ravenwing          for find_package(Ravenwing)
#   include/ravenwing            the public headers
#   share/ravenwing              the demo model, licences; share/man and the shells' folders of completions
# The software driver stays behind: it is a stand-in for machines that build and test, made of packages of one system.
include(CMakePackageConfigHelpers)

install(TARGETS ravenwing RUNTIME DESTINATION bin)
install(TARGETS libravenwing EXPORT RavenwingTargets LIBRARY DESTINATION lib)
if(WebGPU_LIBRARY)
  install(FILES ${WebGPU_LIBRARY} DESTINATION lib)
endif()
install(DIRECTORY ${PROJECT_SOURCE_DIR}/include/ravenwing DESTINATION include)
install(DIRECTORY ${PROJECT_SOURCE_DIR}/models/demo DESTINATION share/ravenwing/models)
install(FILES ${PROJECT_SOURCE_DIR}/LICENSE ${PROJECT_SOURCE_DIR}/NOTICE DESTINATION share/ravenwing)

set(package lib/cmake/Ravenwing)
install(EXPORT RavenwingTargets NAMESPACE Ravenwing:: DESTINATION ${package})
# The library has all it needs inside or beside it, so the package asks for nothing else.
file(CONFIGURE OUTPUT ${CMAKE_BINARY_DIR}/package/RavenwingConfig.cmake @ONLY
  CONTENT "include(\${CMAKE_CURRENT_LIST_DIR}/RavenwingTargets.cmake)\n")
write_basic_package_version_file(${CMAKE_BINARY_DIR}/package/RavenwingConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_BINARY_DIR}/package/RavenwingConfig.cmake ${CMAKE_BINARY_DIR}/package/RavenwingConfigVersion.cmake
  DESTINATION ${package})

# ravenwing_install_output(FOLDER FILE ARGUMENTS...): installs what the program prints.
function(ravenwing_install_output folder name)
  set(file ${CMAKE_BINARY_DIR}/package/${name})
  list(JOIN ARGN " " arguments)
  install(CODE "execute_process(COMMAND \"$<TARGET_FILE:ravenwing>\" ${arguments} OUTPUT_FILE \"${file}\" COMMAND_ERROR_IS_FATAL ANY)")
  install(FILES ${file} DESTINATION share/${folder})
endfunction()
ravenwing_install_output(man/man1 ravenwing.1 man)
ravenwing_install_output(bash-completion/completions ravenwing completion bash)
ravenwing_install_output(zsh/site-functions _ravenwing completion zsh)
ravenwing_install_output(fish/vendor_completions.d ravenwing.fish completion fish)
