/* filled by its owner */ extern int ksm_store_placeholder;
