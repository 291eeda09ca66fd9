# What `cmake --install` puts beside the binaries and libraries that the folders declare.
#
#   cmake --install build/release --prefix /usr/local
#   cmake --install build/release --prefix /usr/local --component runtime   # no development files
#
#   bin/factord, bin/factorctl
#   lib/libfactord_*.a, include/factord/, lib/cmake/factord/     find_package(factord), factord::client
#   share/factord/proto/, share/factord/service_config.json      for clients in other languages
#   share/{bash-completion,zsh,fish}/                            completion of factorctl
#   share/doc/factord/                                           licences, the documents of docs/
include(CMakePackageConfigHelpers)

# The scripts come from the factorctl that is installed.
install(CODE "
  foreach(shell bash zsh fish)
    execute_process(COMMAND \"$<TARGET_FILE:factorctl>\" completion \${shell}
                    OUTPUT_FILE \"${PROJECT_BINARY_DIR}/completion.\${shell}\"
                    COMMAND_ERROR_IS_FATAL ANY)
  endforeach()" COMPONENT runtime)
install(FILES "${PROJECT_BINARY_DIR}/completion.bash" RENAME factorctl COMPONENT runtime
  DESTINATION "${CMAKE_INSTALL_DATADIR}/bash-completion/completions")
install(FILES "${PROJECT_BINARY_DIR}/completion.zsh" RENAME _factorctl COMPONENT runtime
  DESTINATION "${CMAKE_INSTALL_DATADIR}/zsh/site-functions")
install(FILES "${PROJECT_BINARY_DIR}/completion.fish" RENAME factorctl.fish COMPONENT runtime
  DESTINATION "${CMAKE_INSTALL_DATADIR}/fish/vendor_completions.d")

install(FILES LICENSE DESTINATION "${CMAKE_INSTALL_DOCDIR}" COMPONENT runtime)
install(DIRECTORY docs/ DESTINATION "${CMAKE_INSTALL_DOCDIR}" COMPONENT runtime
        FILES_MATCHING PATTERN "*.md" PATTERN "*.svg")
install(FILES third_party/LICENSE DESTINATION "${CMAKE_INSTALL_DOCDIR}/third_party" COMPONENT runtime)
install(FILES client/service_config.json DESTINATION "${CMAKE_INSTALL_DATADIR}/factord"
  COMPONENT development)

set(package "${CMAKE_INSTALL_LIBDIR}/cmake/factord")
configure_package_config_file(cmake/factordConfig.cmake.in "${PROJECT_BINARY_DIR}/factordConfig.cmake"
  INSTALL_DESTINATION "${package}" NO_SET_AND_CHECK_MACRO)
write_basic_package_version_file("${PROJECT_BINARY_DIR}/factordConfigVersion.cmake"
  COMPATIBILITY SameMinorVersion)
install(FILES "${PROJECT_BINARY_DIR}/factordConfig.cmake" "${PROJECT_BINARY_DIR}/factordConfigVersion.cmake"
  DESTINATION "${package}" COMPONENT development)
install(EXPORT factord FILE factordTargets.cmake NAMESPACE factord:: DESTINATION "${package}"
  COMPONENT development)
