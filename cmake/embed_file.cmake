# ravenwing_embed(target symbol file): links the bytes of a file into target as
#   extern "C" const unsigned char <symbol>_begin[], <symbol>_end[];
# through the assembler's .incbin, so that a megabyte costs no compile time.
function(ravenwing_embed target symbol file)
  set(source ${CMAKE_CURRENT_BINARY_DIR}/embed_${symbol}.c)
  get_filename_component(path ${file} ABSOLUTE)
  file(CONFIGURE OUTPUT ${source} @ONLY CONTENT [[
__asm__(".section .rodata\n"
        ".global @symbol@_begin\n.hidden @symbol@_begin\n.balign 16\n@symbol@_begin:\n"
        ".incbin \"@path@\"\n"
        ".global @symbol@_end\n.hidden @symbol@_end\n@symbol@_end:\n.byte 0\n"
        ".section .note.GNU-stack,\"\",@progbits\n"
        ".text\n");
]])
  target_sources(${target} PRIVATE ${source})
  set_source_files_properties(${source} PROPERTIES OBJECT_DEPENDS ${path} SKIP_PRECOMPILE_HEADERS ON)
endfunction()

# ravenwing_embed_wgsl(target files...): embeds shaders and a table of them:
#   struct EmbeddedShader { std::string_view name, text; }; std::span<const EmbeddedShader> embedded_shaders();
function(ravenwing_embed_wgsl target)
  set(declarations "")
  set(rows "")
  foreach(file ${ARGN})
    get_filename_component(name ${file} NAME_WE)
    ravenwing_embed(${target} ravenwing_wgsl_${name} ${file})
    string(APPEND declarations "extern \"C\" const char ravenwing_wgsl_${name}_begin[], ravenwing_wgsl_${name}_end[];\n")
    string(APPEND rows "      {\"${name}\", {ravenwing_wgsl_${name}_begin, size_t(ravenwing_wgsl_${name}_end - ravenwing_wgsl_${name}_begin)}},\n")
  endforeach()
  set(table ${CMAKE_CURRENT_BINARY_DIR}/embedded_shaders.cpp)
  file(CONFIGURE OUTPUT ${table} @ONLY CONTENT [[
#include "kernels/shaders.hpp"

@declarations@
namespace ravenwing::kernels {

std::span<const EmbeddedShader> embedded_shaders() {
  static const EmbeddedShader shaders[] = {
@rows@  };
  return shaders;
}

}  // namespace ravenwing::kernels
]])
  target_sources(${target} PRIVATE ${table})
endfunction()
