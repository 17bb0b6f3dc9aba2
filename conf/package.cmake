# cpack -G DEB: one binary package, from any build tree.
set(CPACK_PACKAGE_NAME ksmpool)
set(CPACK_PACKAGE_VERSION ${PROJECT_VERSION})
set(CPACK_PACKAGE_CONTACT "The ksmpool developers <ksmpool@example.org>")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "DNSSEC key pools in hardware security modules")
set(CPACK_DEBIAN_PACKAGE_DESCRIPTION
"A daemon that makes DNSSEC keys in HSMs before they are needed.
It reads the policy and zone list of OpenDNSSEC, computes how many unused
keys each pool must hold, makes them over PKCS#11 in the background, and
records when each was made, so that keys can be held against the last
backup of the HSM.")
set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGING_INSTALL_PREFIX /)
# Not what this tree was configured for, but what a package needs.
set(CPACK_INSTALL_CMAKE_PROJECTS "")
set(CPACK_INSTALL_SCRIPTS ${CMAKE_SOURCE_DIR}/conf/debian/install.cmake)
configure_file(conf/debian/options.cmake.in
	${CMAKE_BINARY_DIR}/package-options.cmake @ONLY)
set(CPACK_PROJECT_CONFIG_FILE ${CMAKE_BINARY_DIR}/package-options.cmake)

set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_RELEASE 1)
set(CPACK_DEBIAN_PACKAGE_SECTION net)
set(CPACK_DEBIAN_PACKAGE_PRIORITY optional)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_DEPENDS "systemd | systemd-standalone-sysusers")
set(CPACK_DEBIAN_PACKAGE_RECOMMENDS "softhsm2")
set(CPACK_DEBIAN_PACKAGE_SUGGESTS "opendnssec, prometheus-node-exporter")
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
set(CPACK_DEBIAN_PACKAGE_CONTROL_EXTRA
	${CMAKE_SOURCE_DIR}/conf/debian/postinst
	${CMAKE_SOURCE_DIR}/conf/debian/prerm
	${CMAKE_SOURCE_DIR}/conf/debian/postrm)
include(CPack)
