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
file(GLOB sources CONFIGURE_DEPENDS include/*.h include/recto/*.h *.md docs/*.md
     docs/*/*.md apps/examples/*.md)
add_custom_command(
  OUTPUT ${docs}/man.stamp
  COMMAND ${CMAKE_COMMAND} -E rm -rf ${docs}/man ${docs}/markdown
  COMMAND Python3::Interpreter -B ${PROJECT_SOURCE_DIR}/src/man/manual.py
          --source ${PROJECT_SOURCE_DIR} --recto $<TARGET_FILE:recto_command>
          --version ${PROJECT_VERSION} --man ${docs}/man --markdown ${docs}/markdown
  COMMAND ${CMAKE_COMMAND} -E touch ${docs}/man.stamp
  DEPENDS recto_command ${makers} ${sources}
  COMMENT "Making the manual pages"
  VERBATIM)
add_custom_target(recto_man ALL DEPENDS ${docs}/man.stamp)
install(DIRECTORY ${docs}/man/man1 ${docs}/man/man7
        DESTINATION ${CMAKE_INSTALL_MANDIR} COMPONENT runtime)
install(DIRECTORY ${docs}/man/man3 DESTINATION ${CMAKE_INSTALL_MANDIR} COMPONENT dev)

find_program(RECTO_DOXYGEN doxygen DOC "doxygen, for the HTML build of the documentation")
mark_as_advanced(RECTO_DOXYGEN)
if(NOT RECTO_DOXYGEN)
  message(STATUS "No HTML documentation: doxygen not found")
  return()
endif()
configure_file(src/man/Doxyfile.in ${docs}/Doxyfile @ONLY)
add_custom_command(
  OUTPUT ${docs}/html.stamp
  COMMAND ${CMAKE_COMMAND} -E rm -rf ${docs}/html
  COMMAND ${RECTO_DOXYGEN} ${docs}/Doxyfile
  COMMAND ${CMAKE_COMMAND} -E touch ${docs}/html.stamp
  DEPENDS ${docs}/man.stamp ${docs}/Doxyfile
  COMMENT "Making the HTML documentation"
  VERBATIM)
add_custom_target(recto_html ALL DEPENDS ${docs}/html.stamp)
add_dependencies(recto_html recto_man)
install(DIRECTORY ${docs}/html DESTINATION ${CMAKE_INSTALL_DOCDIR} COMPONENT dev)
