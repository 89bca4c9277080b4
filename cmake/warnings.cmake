# ravenwing_warnings(target): the warnings that every room is built with.
function(ravenwing_warnings target)
  target_compile_options(${target} PRIVATE -Wall -Wextra -Wpedantic -Wshadow
    $<$<COMPILE_LANGUAGE:CXX>:-Wnon-virtual-dtor> $<$<COMPILE_LANGUAGE:CXX>:-Woverloaded-virtual> -Wcast-align -Wimplicit-fallthrough -Wno-missing-field-initializers)
  # Clang blames std::stable_sort's callers for what libstdc++ 12 does within it.
  if(CMAKE_CXX_COMPILER_ID STREQUAL Clang)
    target_compile_options(${target} PRIVATE -Wno-deprecated-declarations)
  endif()
  if(RAVENWING_WERROR)
    target_compile_options(${target} PRIVATE -Werror)
  endif()
endfunction()
