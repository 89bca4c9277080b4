# Lays out the build folder like an installed program, so that bin/<program> finds what it needs from any working
# directory:  lib/<WebGPU library>,  share/ravenwing/models/demo,  share/ravenwing/mesa.  Links, not copies: the library
# alone is 130 MB.
function(ravenwing_link from to)
  get_filename_component(folder ${to} DIRECTORY)
  file(MAKE_DIRECTORY ${folder})
  file(CREATE_LINK ${from} ${to} SYMBOLIC)
endfunction()

set(CMAKE_BUILD_RPATH_USE_ORIGIN ON)
set(CMAKE_BUILD_RPATH "\$ORIGIN" "\$ORIGIN/../lib")
set(CMAKE_INSTALL_RPATH "\$ORIGIN" "\$ORIGIN/../lib")
# The link-time stub's folder must not become the first place to look in at run time.
set(CMAKE_BUILD_WITH_INSTALL_RPATH ON)

ravenwing_link(${CMAKE_SOURCE_DIR}/models/demo ${CMAKE_BINARY_DIR}/share/ravenwing/models/demo)
# May be missing (a machine with a GPU needs none): a dangling link reads as "not found".
ravenwing_link(${CMAKE_SOURCE_DIR}/third_party/mesa ${CMAKE_BINARY_DIR}/share/ravenwing/mesa)
if(WebGPU_LIBRARY)
  get_filename_component(name ${WebGPU_LIBRARY} NAME)
  ravenwing_link(${WebGPU_LIBRARY} ${CMAKE_BINARY_DIR}/lib/${name})
endif()
