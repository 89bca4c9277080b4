# Finds a WebGPU implementation with Dawn's C++ header and defines the target WebGPU::WebGPU. Looked for in this order:
#   1. find_package(Dawn): a system or self-built Dawn
#   2. RAVENWING_WEBGPU_ROOT (cache or environment): a folder with include/webgpu/webgpu_cpp.h and lib/<library>
#   3. third_party/webgpu: the pinned packages, put there by tools/setup.sh
# WebGPU_VERSION and WebGPU_SHA256 say which library it is.
#
# The pinned library has no SONAME and exports 218 000 unrelated symbols (zstd, zlib, absl, operator new among them).
# So nothing is linked against it: a stub that has the wgpu* names alone stands in for it at link time, and the real
# library, found through the rpath, takes its place at run time.
find_package(Dawn QUIET CONFIG)
if(Dawn_FOUND AND TARGET dawn::webgpu_dawn)
  if(NOT TARGET WebGPU::WebGPU)
    add_library(WebGPU::WebGPU INTERFACE IMPORTED)
    target_link_libraries(WebGPU::WebGPU INTERFACE dawn::webgpu_dawn)
  endif()
  set(WebGPU_FOUND TRUE)
  set(WebGPU_VERSION "Dawn of ${Dawn_DIR}")
  set(WebGPU_SHA256 "unknown")
  return()
endif()

set(RAVENWING_WEBGPU_ROOT "$ENV{RAVENWING_WEBGPU_ROOT}" CACHE PATH "Folder with include/webgpu/webgpu_cpp.h and lib/")
set(_webgpu_roots ${RAVENWING_WEBGPU_ROOT} ${CMAKE_SOURCE_DIR}/third_party/webgpu)
find_path(WebGPU_INCLUDE_DIR webgpu/webgpu_cpp.h PATHS ${_webgpu_roots} PATH_SUFFIXES include NO_DEFAULT_PATH)
find_file(WebGPU_LIBRARY NAMES libwebgpu_dawn.so liblitert-lm.so PATHS ${_webgpu_roots} PATH_SUFFIXES lib NO_DEFAULT_PATH)
include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(WebGPU REQUIRED_VARS WebGPU_LIBRARY WebGPU_INCLUDE_DIR
  REASON_FAILURE_MESSAGE "run `make setup`, or set RAVENWING_WEBGPU_ROOT")

if(WebGPU_FOUND AND NOT TARGET WebGPU::WebGPU)
  get_filename_component(WebGPU_LIBRARY_NAME ${WebGPU_LIBRARY} NAME)
  get_filename_component(WebGPU_LIBRARY_DIR ${WebGPU_LIBRARY} DIRECTORY)
  # Another version of the library may have other functions: CMake then runs again and makes a new stub.
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${WebGPU_LIBRARY})
  set(_stub_dir ${CMAKE_BINARY_DIR}/webgpu_stub)
  set(_stub ${_stub_dir}/${WebGPU_LIBRARY_NAME})
  if(NOT EXISTS ${_stub} OR ${WebGPU_LIBRARY} IS_NEWER_THAN ${_stub})
    execute_process(COMMAND ${CMAKE_NM} -D --defined-only ${WebGPU_LIBRARY}
      OUTPUT_VARIABLE _symbols COMMAND_ERROR_IS_FATAL ANY)
    string(REGEX MATCHALL "wgpu[A-Z][A-Za-z0-9]*" _functions "${_symbols}")
    list(REMOVE_DUPLICATES _functions)
    list(LENGTH _functions _n_functions)
    if(_n_functions LESS 100)
      message(FATAL_ERROR "${WebGPU_LIBRARY} exports ${_n_functions} wgpu* functions: not a WebGPU library")
    endif()
    list(TRANSFORM _functions REPLACE "(.+)" "void \\1(void) {}\n")
    string(CONCAT _source ${_functions})
    file(WRITE ${_stub_dir}/stub.c "${_source}")
    execute_process(COMMAND ${CMAKE_C_COMPILER} -shared -fPIC -nostdlib -Wl,-soname,${WebGPU_LIBRARY_NAME}
      -o ${_stub} ${_stub_dir}/stub.c COMMAND_ERROR_IS_FATAL ANY)
  endif()
  # The hash of 130 MB takes a second: kept until the library changes.
  if(NOT EXISTS ${_stub_dir}/sha256 OR ${WebGPU_LIBRARY} IS_NEWER_THAN ${_stub_dir}/sha256)
    file(SHA256 ${WebGPU_LIBRARY} _sha256)
    file(WRITE ${_stub_dir}/sha256 ${_sha256})
  endif()
  file(READ ${_stub_dir}/sha256 WebGPU_SHA256)
  # "PACKAGE==VERSION ..." of tools/setup_webgpu.sh; another library says nothing of itself.
  set(WebGPU_VERSION ${WebGPU_LIBRARY_NAME})
  if(EXISTS ${WebGPU_LIBRARY_DIR}/../VERSION)
    file(READ ${WebGPU_LIBRARY_DIR}/../VERSION _version)
    string(REGEX MATCH "^[^ \n]+" WebGPU_VERSION "${_version}")
  endif()
  add_library(WebGPU::WebGPU SHARED IMPORTED)
  set_target_properties(WebGPU::WebGPU PROPERTIES
    IMPORTED_LOCATION ${_stub}
    IMPORTED_SONAME ${WebGPU_LIBRARY_NAME}
    INTERFACE_INCLUDE_DIRECTORIES ${WebGPU_INCLUDE_DIR})
endif()
