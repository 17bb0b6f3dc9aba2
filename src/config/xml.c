/* filled by its owner */ extern int ksm_xml_placeholder;
