# Lays out the build folder like an installed program, so that bin/<program> finds what it needs from any working
# directory:  lib/<WebGPU library>,  share/ravenwing/models/demo,  share/ravenwing/mesa.  Links, not copies: the library
# alone is 130 MB. cmake/install.cmake makes the same of copies, but for the software driver.
set(CMAKE_INSTALL_RPATH "\$ORIGIN" "\$ORIGIN/../lib")
# In the build folder too: CMake's own build rpath would look into the link-time stub's folder first.
set(CMAKE_BUILD_WITH_INSTALL_RPATH ON)

function(ravenwing_stage from folder)
  # A driver may be missing (a machine with a GPU needs none): a dangling link reads as "not found".
  get_filename_component(name ${from} NAME)
  file(MAKE_DIRECTORY ${CMAKE_BINARY_DIR}/${folder})
  file(CREATE_LINK ${from} ${CMAKE_BINARY_DIR}/${folder}/${name} SYMBOLIC)
endfunction()

ravenwing_stage(${CMAKE_SOURCE_DIR}/models/demo share/ravenwing/models)
ravenwing_stage(${CMAKE_SOURCE_DIR}/third_party/mesa share/ravenwing)
if(WebGPU_LIBRARY)
  ravenwing_stage(${WebGPU_LIBRARY} lib)
endif()
