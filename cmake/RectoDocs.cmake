# SPDX-License-Identifier: BSD-3-Clause
#
# What RECTO_DOCS builds, of the headers and what the command says of itself:
#
#   docs/man   manual pages, by python3 (src/man); component runtime, those of
#              functions dev
#   docs/html  the Markdown pages and the same manual, by doxygen; component dev
#
# Either is left out, with a message, where its tool is not found; with sanitizers, too:
# they would run in the command.
find_package(Python3 3.7 QUIET COMPONENTS Interpreter)
if(RECTO_SANITIZE OR CMAKE_CROSSCOMPILING)
  message(STATUS "No manual: it is made by the command, which is not to run here")
  return()
elseif(NOT Python3_FOUND)
  message(STATUS "No manual: python3 (3.7) not found")
  return()
endif()

set(docs ${PROJECT_BINARY_DIR}/docs)
file(GLOB makers CONFIGURE_DEPENDS src/man/*)
file(GLOB headers CONFIGURE_DEPENDS include/*.h include/recto/*.h)
add_custom_command(
  OUTPUT ${docs}/man.stamp
  COMMAND ${CMAKE_COMMAND} -E rm -rf ${docs}/man ${docs}/markdown
  COMMAND Python3::Interpreter -B ${PROJECT_SOURCE_DIR}/src/man/manual.py
          --include ${PROJECT_SOURCE_DIR}/include --recto $<TARGET_FILE:recto_command>
          --version ${PROJECT_VERSION} --man ${docs}/man --markdown ${docs}/markdown
  COMMAND ${CMAKE_COMMAND} -E touch ${docs}/man.stamp
  DEPENDS recto_command ${makers} ${headers}
  COMMENT "Making the manual pages"
  VERBATIM)
add_custom_target(recto_man ALL DEPENDS ${docs}/man.stamp)
install(DIRECTORY ${docs}/man/man1 ${docs}/man/man7
        DESTINATION ${CMAKE_INSTALL_MANDIR} COMPONENT runtime)
install(DIRECTORY ${docs}/man/man3 DESTINATION ${CMAKE_INSTALL_MANDIR} COMPONENT dev)
