/* filled by its owner */ extern int ksm_fd_placeholder;
