# The functions with which each folder declares its targets, and the layer check.
#
#   factord_library(NAME engine LAYER 2
#                   SRCS engine.cc engine.h
#                   DEPS factord::model absl::status
#                   PRIVATE_DEPS factord::storage)
#     makes the static library factord_engine, alias factord::engine. DEPS are seen
#     by whoever links it (what its headers include), PRIVATE_DEPS are not. Without
#     sources it is an interface library. GENERATED: for generated code, built
#     without warnings, sources may be added later (protobuf_generate).
#
#   factord_executable(NAME factord LAYER 4 SRCS main.cc DEPS factord::server)
#
#   factord_test(NAME engine_test SRCS engine_test.cc DEPS factord::engine
#                [LABELS unit] [TIMEOUT 120] [NO_MAIN] [SERIAL])
#     makes the GoogleTest binary FOLDER/NAME; each of its cases is a ctest test called
#     FOLDER/NAME/Suite.Case with one label (unit, e2e, ...), killed after TIMEOUT
#     seconds. NO_MAIN: it has its own main(). SERIAL: nothing else runs beside it.
#     The macros FACTORD_SOURCE_DIR and FACTORD_BINARY_DIR hold the two roots.
#
#   factord_fuzzer(NAME rows_fuzzer SRCS rows_fuzzer.cc DEPS ... [CORPUS corpus/rows])
#     makes a libFuzzer target where FACTORD_SANITIZE=fuzzer; elsewhere a ctest test
#     that feeds it the corpus, file by file.
#
#   factord_benchmark(NAME engine_benchmark SRCS ... DEPS ...)
#     a Google Benchmark binary, where FACTORD_BUILD_BENCHMARKS is on.
#
#   factord_install_library(NAME client HEADERS client.h rating_stream.h)
#     makes the library part of the installed CMake package, as factord::client, with
#     these headers of its folder, if any, under include/factord/FOLDER. To be called in the
#     library's own folder. Everything it links of ours has to be installed, too
#     (cmake/Install.cmake says what else is).
#
# Includes are relative to the repository root: #include "base/status.h". For who uses
# the installed package they are relative to include/factord.
#
# Layers: a library or executable links only factord targets of a strictly lower
# layer. Tests and benchmarks have none. factord_check_layers() runs at the end of
# the configuration and looks at what CMake really links.

include(GNUInstallDirs)
include(GoogleTest)

function(_factord_target_defaults target)
  target_include_directories(${target} PUBLIC "$<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}>")
  target_compile_options(${target} PRIVATE ${FACTORD_WARNINGS})
endfunction()

function(_factord_register target layer)
  if(NOT layer MATCHES "^[0-4]$")
    message(FATAL_ERROR "${target}: LAYER must be 0 to 4, not '${layer}'")
  endif()
  set_property(GLOBAL APPEND PROPERTY FACTORD_LAYERED_TARGETS ${target})
  set_property(GLOBAL PROPERTY FACTORD_LAYER_OF_${target} ${layer})
endfunction()

# Stops at a misspelt keyword or a missing one.
macro(_factord_require_arguments function)
  if(ARG_UNPARSED_ARGUMENTS)
    message(FATAL_ERROR "${function}(${ARG_NAME}): unknown arguments: ${ARG_UNPARSED_ARGUMENTS}")
  endif()
  foreach(required ${ARGN})
    if(NOT DEFINED ARG_${required})
      message(FATAL_ERROR "${function}(${ARG_NAME}): ${required} is missing")
    endif()
  endforeach()
endmacro()

function(factord_library)
  cmake_parse_arguments(ARG "GENERATED" "NAME;LAYER" "SRCS;DEPS;PRIVATE_DEPS" ${ARGN})
  _factord_require_arguments(factord_library NAME LAYER)
  set(target factord_${ARG_NAME})
  if(ARG_SRCS OR ARG_GENERATED)
    add_library(${target} STATIC ${ARG_SRCS})
    target_link_libraries(${target} PUBLIC ${ARG_DEPS} PRIVATE ${ARG_PRIVATE_DEPS})
    if(ARG_GENERATED)
      target_include_directories(${target} PUBLIC "$<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}>")
    else()
      _factord_target_defaults(${target})
    endif()
  else()
    add_library(${target} INTERFACE)
    target_link_libraries(${target} INTERFACE ${ARG_DEPS} ${ARG_PRIVATE_DEPS})
    target_include_directories(${target} INTERFACE "${PROJECT_SOURCE_DIR}")
  endif()
  add_library(factord::${ARG_NAME} ALIAS ${target})
  _factord_register(${target} ${ARG_LAYER})
endfunction()

function(factord_executable)
  cmake_parse_arguments(ARG "" "NAME;LAYER" "SRCS;DEPS" ${ARGN})
  _factord_require_arguments(factord_executable NAME LAYER SRCS)
  add_executable(${ARG_NAME} ${ARG_SRCS})
  target_link_libraries(${ARG_NAME} PRIVATE ${ARG_DEPS})
  _factord_target_defaults(${ARG_NAME})
  install(TARGETS ${ARG_NAME} RUNTIME COMPONENT runtime)
  add_dependencies(runtime ${ARG_NAME})
  _factord_register(${ARG_NAME} ${ARG_LAYER})
endfunction()

function(factord_install_library)
  cmake_parse_arguments(ARG "" "NAME" "HEADERS" ${ARGN})
  _factord_require_arguments(factord_install_library NAME)
  set(target factord_${ARG_NAME})
  set(include "${CMAKE_INSTALL_INCLUDEDIR}/factord")
  target_include_directories(${target} INTERFACE "$<INSTALL_INTERFACE:${include}>")
  target_compile_features(${target} INTERFACE cxx_std_20)
  set_target_properties(${target} PROPERTIES EXPORT_NAME ${ARG_NAME})
  install(TARGETS ${target} EXPORT factord ARCHIVE COMPONENT development)
  add_dependencies(development ${target})
  file(RELATIVE_PATH folder "${PROJECT_SOURCE_DIR}" "${CMAKE_CURRENT_SOURCE_DIR}")
  if(ARG_HEADERS)
    install(FILES ${ARG_HEADERS} DESTINATION "${include}/${folder}" COMPONENT development)
  endif()
endfunction()

function(factord_test)
  cmake_parse_arguments(ARG "NO_MAIN;SERIAL" "NAME;TIMEOUT;LABELS" "SRCS;DEPS" ${ARGN})
  _factord_require_arguments(factord_test NAME SRCS)
  if(NOT ARG_TIMEOUT)
    set(ARG_TIMEOUT 120)
  endif()
  if(NOT ARG_LABELS)
    set(ARG_LABELS unit)
  endif()
  if(FACTORD_SANITIZE)
    math(EXPR ARG_TIMEOUT "${ARG_TIMEOUT} * 5")
  endif()

  # Two folders may have tests of the same name: the target carries the folder too.
  file(RELATIVE_PATH folder "${PROJECT_SOURCE_DIR}" "${CMAKE_CURRENT_SOURCE_DIR}")
  string(REPLACE "/" "_" target "${folder}_${ARG_NAME}")
  add_executable(${target} ${ARG_SRCS})
  set_target_properties(${target} PROPERTIES OUTPUT_NAME ${ARG_NAME})
  _factord_target_defaults(${target})
  target_link_libraries(${target} PRIVATE ${ARG_DEPS} GTest::gmock GTest::gtest)
  if(NOT ARG_NO_MAIN)
    target_link_libraries(${target} PRIVATE GTest::gtest_main)
  endif()
  target_compile_definitions(${target} PRIVATE
    FACTORD_SOURCE_DIR="${PROJECT_SOURCE_DIR}"
    FACTORD_BINARY_DIR="${PROJECT_BINARY_DIR}")

  set(properties TIMEOUT ${ARG_TIMEOUT})
  if(ARG_SERIAL)
    list(APPEND properties RUN_SERIAL TRUE)
  endif()
  # Cases are listed when ctest starts, not while building: a build never runs tests.
  gtest_discover_tests(${target}
    TEST_PREFIX "${folder}/${ARG_NAME}/"
    DISCOVERY_MODE PRE_TEST
    DISCOVERY_TIMEOUT 60
    PROPERTIES ${properties} LABELS ${ARG_LABELS})
endfunction()

function(factord_fuzzer)
  cmake_parse_arguments(ARG "" "NAME;CORPUS" "SRCS;DEPS" ${ARGN})
  _factord_require_arguments(factord_fuzzer NAME SRCS)
  add_executable(${ARG_NAME} ${ARG_SRCS})
  _factord_target_defaults(${ARG_NAME})
  target_link_libraries(${ARG_NAME} PRIVATE ${ARG_DEPS})
  if(ARG_CORPUS)
    set(corpus "${CMAKE_CURRENT_SOURCE_DIR}/${ARG_CORPUS}")
  endif()
  file(RELATIVE_PATH folder "${PROJECT_SOURCE_DIR}" "${CMAKE_CURRENT_SOURCE_DIR}")
  if(FACTORD_SANITIZE STREQUAL "fuzzer")
    target_link_options(${ARG_NAME} PRIVATE -fsanitize=fuzzer)
    # A bounded run with a fixed seed. New inputs go to the build folder, which
    # comes first; the committed corpus is only read.
    file(MAKE_DIRECTORY "${CMAKE_CURRENT_BINARY_DIR}/${ARG_NAME}.found")
    add_test(NAME ${folder}/${ARG_NAME}
             COMMAND ${ARG_NAME} -runs=50000 -seed=1 -max_total_time=60
                     "${CMAKE_CURRENT_BINARY_DIR}/${ARG_NAME}.found" ${corpus})
  else()
    target_sources(${ARG_NAME} PRIVATE "${PROJECT_SOURCE_DIR}/cmake/fuzz_replay_main.cc")
    add_test(NAME ${folder}/${ARG_NAME} COMMAND ${ARG_NAME} ${corpus})
  endif()
  set_tests_properties(${folder}/${ARG_NAME} PROPERTIES LABELS fuzz TIMEOUT 300)
endfunction()

function(factord_benchmark)
  cmake_parse_arguments(ARG "" "NAME" "SRCS;DEPS" ${ARGN})
  _factord_require_arguments(factord_benchmark NAME SRCS)
  if(NOT FACTORD_BUILD_BENCHMARKS)
    return()
  endif()
  add_executable(${ARG_NAME} ${ARG_SRCS})
  _factord_target_defaults(${ARG_NAME})
  target_link_libraries(${ARG_NAME} PRIVATE ${ARG_DEPS} benchmark::benchmark_main)
endfunction()

# What `target` links itself, privately too: real target names, without generator
# expressions.
function(_factord_direct_links target out)
  set(links)
  foreach(property LINK_LIBRARIES INTERFACE_LINK_LIBRARIES)
    get_target_property(value ${target} ${property})
    if(value)
      foreach(item IN LISTS value)
        string(REGEX REPLACE "^\\$<(LINK_ONLY|BUILD_INTERFACE):(.*)>$" "\\2" item "${item}")
        if(TARGET "${item}")
          get_target_property(aliased "${item}" ALIASED_TARGET)
          if(aliased)
            set(item ${aliased})
          endif()
        elseif(item MATCHES "^factord(::|_)")
          message(FATAL_ERROR "${target} links ${item}, which no folder defines")
        endif()
        list(APPEND links "${item}")
      endforeach()
    endif()
  endforeach()
  list(REMOVE_DUPLICATES links)
  set(${out} "${links}" PARENT_SCOPE)
endfunction()

# Adds to `out` everything that `target` links through our own targets.
function(_factord_all_links target out)
  set(seen ${target})
  set(todo ${target})
  while(todo)
    list(POP_FRONT todo next)
    _factord_direct_links(${next} links)
    foreach(item IN LISTS links)
      if(NOT item IN_LIST seen)
        list(APPEND seen "${item}")
        get_property(layer GLOBAL PROPERTY FACTORD_LAYER_OF_${item})
        if(DEFINED layer)
          list(APPEND todo ${item})
        endif()
      endif()
    endforeach()
  endwhile()
  list(REMOVE_ITEM seen ${target})
  set(${out} "${seen}" PARENT_SCOPE)
endfunction()

function(factord_check_layers)
  get_property(targets GLOBAL PROPERTY FACTORD_LAYERED_TARGETS)
  foreach(target IN LISTS targets)
    get_property(layer GLOBAL PROPERTY FACTORD_LAYER_OF_${target})
    _factord_direct_links(${target} links)
    foreach(item IN LISTS links)
      get_property(item_layer GLOBAL PROPERTY FACTORD_LAYER_OF_${item})
      if(DEFINED item_layer AND NOT item_layer LESS layer)
        message(FATAL_ERROR
          "Layer violation: ${target} (layer ${layer}) links ${item} (layer ${item_layer}). "
          "A target may link only targets of a strictly lower layer.")
      endif()
      # RocksDB is storage's own business.
      if(item MATCHES "^RocksDB::|rocksdb$" AND NOT target STREQUAL "factord_storage")
        message(FATAL_ERROR "Layer violation: ${target} links ${item}. Only factord_storage may.")
      endif()
    endforeach()
    # The engine and what is below it know nothing of the wire.
    if(target MATCHES "^factord_(base|ratings|model|storage|engine)$")
      _factord_all_links(${target} links)
      foreach(item IN LISTS links)
        if(item MATCHES "^(gRPC|protobuf)::|^factord_proto$|^(grpc|protobuf)")
          message(FATAL_ERROR "Layer violation: ${target} links ${item}. It may not see gRPC or protobuf.")
        endif()
      endforeach()
    endif()
  endforeach()
endfunction()
