# Run by cpack: build once more for the paths of a package, whatever prefix the
# tree was configured for, and install that where cpack collects files.
set(work ${CPACK_TOPLEVEL_DIRECTORY}/build)
set(stage ${CPACK_TEMPORARY_INSTALL_DIRECTORY})

function(run)
	execute_process(COMMAND ${ARGV} RESULT_VARIABLE status
		OUTPUT_VARIABLE said ERROR_VARIABLE said)
	if(NOT status EQUAL 0)
		message(FATAL_ERROR "${ARGV}\n${said}")
	endif()
endfunction()

run(${CMAKE_COMMAND} -S ${KSM_SOURCE_DIR} -B ${work}
	-DCMAKE_BUILD_TYPE=RelWithDebInfo -DBUILD_TESTING=OFF
	-DCMAKE_INSTALL_PREFIX=/usr -DCMAKE_INSTALL_LIBEXECDIR=libexec
	-DKSM_UNITDIR=/lib/systemd/system
	-DCMAKE_INSTALL_DOCDIR=share/doc/ksmpool)
run(${CMAKE_COMMAND} --build ${work} --parallel 2)
run(${CMAKE_COMMAND} -E env DESTDIR=${stage}
	${CMAKE_COMMAND} --install ${work} --strip)

# What Debian's policy wants of every package (chapter 12).
set(doc ${stage}/usr/share/doc/ksmpool)
file(MAKE_DIRECTORY ${doc})
file(COPY ${KSM_SOURCE_DIR}/conf/debian/copyright
	${KSM_SOURCE_DIR}/README.md DESTINATION ${doc})
configure_file(${KSM_SOURCE_DIR}/conf/debian/changelog
	${doc}/changelog.Debian COPYONLY)
file(GLOB pages ${stage}/usr/share/man/man*/*)
run(gzip -9n ${doc}/changelog.Debian ${pages})
