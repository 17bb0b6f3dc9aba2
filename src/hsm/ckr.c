/* filled by its owner */ extern int ksm_ckr_placeholder;
