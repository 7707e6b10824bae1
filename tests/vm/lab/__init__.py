"""A laboratory of virtual machines: stock kernels, their headers, and guests on shared memory."""
