"""The only translation between the contract and the domain, a file for each resource."""
