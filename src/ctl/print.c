/* filled by its owner */ extern int ksm_print_placeholder;
