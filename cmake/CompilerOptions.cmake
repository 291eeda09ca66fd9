# How all of our code is compiled. Nothing here reaches the libraries of the system.

set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)

if(NOT CMAKE_BUILD_TYPE AND NOT CMAKE_CONFIGURATION_TYPES)
  set(CMAKE_BUILD_TYPE RelWithDebInfo CACHE STRING "Build type" FORCE)
endif()

# The same bits on every CPU: a fused multiply-add rounds once where two
# instructions round twice, and compilers contract where the target allows it.
# Never add -ffast-math: the state of a model is compared by hash.
add_compile_options(-ffp-contract=off)

# Warnings are attached to our targets (FactordTargets.cmake), not to generated code.
# A designated initializer names what it sets and leaves the rest as it is by default.
set(FACTORD_WARNINGS -Wall -Wextra -Wno-missing-field-initializers)
if(FACTORD_WERROR)
  list(APPEND FACTORD_WARNINGS -Werror)
endif()
if(CMAKE_CXX_COMPILER_ID MATCHES "Clang")
  # Lock discipline is checked at compile time, by clang only (base/mutex.h).
  list(APPEND FACTORD_WARNINGS -Wthread-safety -Werror=thread-safety)
endif()

if(FACTORD_SCALAR_KERNELS)
  add_compile_definitions(FACTORD_SCALAR_KERNELS=1)
endif()

if(FACTORD_SANITIZE STREQUAL "fuzzer")
  # Coverage for libFuzzer in every object; its main() only in the fuzz targets.
  set(sanitize_flags -fsanitize=fuzzer-no-link,address,undefined)
elseif(FACTORD_SANITIZE)
  set(sanitize_flags -fsanitize=${FACTORD_SANITIZE})
endif()
if(FACTORD_SANITIZE)
  # A finding ends the process, so that a test cannot pass over it.
  list(APPEND sanitize_flags -fno-sanitize-recover=all -fno-omit-frame-pointer)
  add_compile_options(${sanitize_flags})
  add_link_options(${sanitize_flags})
endif()

# Faster builds where the tools are installed; neither changes the result.
find_program(FACTORD_CCACHE ccache)
if(FACTORD_CCACHE)
  set(CMAKE_C_COMPILER_LAUNCHER "${FACTORD_CCACHE}")
  set(CMAKE_CXX_COMPILER_LAUNCHER "${FACTORD_CCACHE}")
endif()
find_program(FACTORD_MOLD mold)
find_program(FACTORD_LLD ld.lld)
if(FACTORD_MOLD)
  add_link_options(-fuse-ld=mold)
elseif(FACTORD_LLD)
  add_link_options(-fuse-ld=lld)
endif()
